import threading
import time
from concurrent.futures import ThreadPoolExecutor

from promptfuse.extract.room import Room, Window


def test_what_is_at_work_at_once_stays_within_the_room():
    room, lock = Room(100 * 2**20), threading.Lock()
    held, most = [0], [0]

    def work(megabytes: int) -> None:
        with room.hold() as reserve:
            reserve(megabytes * 2**20)
            with lock:
                held[0] += megabytes
                most[0] = max(most[0], held[0])
            time.sleep(0.01)
            with lock:
                held[0] -= megabytes

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [40, 30, 60, 40, 90, 20, 40] * 3))
    assert 70 <= most[0] <= 100


def test_what_is_larger_than_the_room_is_alone_and_the_small_do_not_wait():
    room, order = Room(100 * 2**20), []
    with room.hold() as reserve:
        reserve(500 * 2**20)
        with room.hold() as small:
            small(2**20)

        def wait() -> None:
            with room.hold() as other:
                other(20 * 2**20)
                order.append("other")

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.05)
        order.append("large")
    thread.join()
    assert order == ["large", "other"]


def test_a_second_reservation_of_one_medium_waits_for_nobody():
    room = Room(100 * 2**20)
    with room.hold() as one, room.hold() as other:
        one(50 * 2**20)
        other(50 * 2**20)
        one(90 * 2**20)


def test_a_full_window_lets_only_the_next_in():
    window, begun = Window(100), []

    def work(number: int) -> None:
        window.enter(number)
        begun.append(number)
        window.put(number, 300 if number == 1 else 1)

    work(0)
    work(1)
    threads = [threading.Thread(target=work, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert begun == [0, 1]  # 301 bytes wait, and 0 is the next
    window.take(0)
    time.sleep(0.05)
    assert begun == [0, 1]
    window.take(1)
    for thread in threads:
        thread.join(5)
    assert sorted(begun) == [0, 1, 2, 3]


def test_a_window_that_is_closed_keeps_nobody():
    window = Window(1)
    window.put(0, 5)
    thread = threading.Thread(target=window.enter, args=(7,))
    thread.start()
    window.close()
    thread.join(5)
    assert not thread.is_alive()
