import threading

import torch

from promptfuse.threads import undivided_work, usable_processors


def threads_seen_by_a_new_thread() -> int:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def test_only_the_worker_threads_are_undivided():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with undivided_work() as begin_thread:
            seen: list[int] = []

            def work() -> None:
                begin_thread()
                seen.append(torch.get_num_threads())

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert seen == [1]
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 3
        assert threads_seen_by_a_new_thread() == 3
    finally:
        torch.set_num_threads(before)


def test_there_is_a_processor():
    assert usable_processors() >= 1
