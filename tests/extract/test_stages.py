from promptfuse.extract import stages
from promptfuse.extract.stages import Stages


def test_the_bottleneck_is_the_stage_that_is_busy_the_most(monkeypatch):
    ticks = iter([0, 2, 2, 10, 10, 11])
    monkeypatch.setattr(stages, "perf_counter", lambda: next(ticks))
    clock = Stages()
    for name, media, threads in (("decode", 30, 2), ("encode image", 40, 1), ("write", 40, 1)):
        with clock.timing(name, media, threads=threads):
            pass
    assert clock.line() == (
        "at full use: decode 30/s, encode image 5/s, write 40/s; "
        "bottleneck: encode image, busy 73% of the time"
    )


def test_where_nothing_was_done_nothing_is_said():
    clock = Stages()
    with clock.timing("write", 0):
        pass
    assert clock.line() == Stages().line() == ""
