import os
import signal
import threading
import time

import pytest

from promptfuse.errors import ConfigError, Stopped
from promptfuse.stopping import Stop, seconds_of, stopping


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("2h", 7200), ("45", 45), ("1.5 s", 1.5), (None, None)]
)
def test_durations(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-3", "2d", "1h30m", "nan", "soon"])
def test_what_is_no_duration_is_named(text):
    with pytest.raises(ConfigError, match=f"time_limit is '{text}'; expected seconds, or 90m"):
        seconds_of(text)


def test_sigterm_asks_and_a_second_one_ends():
    ended = []
    before = signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    try:
        with stopping() as stop:
            stop.check("never")
            os.kill(os.getpid(), signal.SIGTERM)
            assert (stop.why, ended) == ("SIGTERM", [])
            with pytest.raises(Stopped, match=r"stopped \(SIGTERM\) after two of three"):
                stop.check("after two of three")
            os.kill(os.getpid(), signal.SIGTERM)
            assert ended == [True]
        with stopping():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended == [True, True]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_time_limit_asks_once_it_is_over():
    stop = Stop("0.05s")
    assert stop.why is None
    time.sleep(0.06)
    assert stop.why == "time limit of 0.05s"


def test_other_threads_have_their_time_limit_too():
    asked = []

    def work() -> None:
        with stopping("0.01") as stop:
            time.sleep(0.02)
            asked.append(stop.why)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == ["time limit of 0.01"]
