"""One verb at a time, whoever calls."""

from __future__ import annotations

import threading

from rrl.replay.lock import locked


class Room:
    """Its one verb says who is inside and gives another caller half a second to come in as well."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.inside, self.met = 0, False
        self.two_inside = threading.Event()

    @locked
    def enter(self, again: bool = False) -> None:
        self.inside += 1
        if self.inside == 2 and not again:
            self.two_inside.set()
        self.met = self.met or self.two_inside.wait(0.5 if not again else 0.0)
        self.inside -= 1

    @locked
    def enter_twice(self) -> None:
        self.enter(again=True)


def test_two_threads_are_never_inside_together() -> None:
    room = Room()
    threads = [threading.Thread(target=room.enter) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10.0)
    assert not room.met and room.inside == 0


def test_whoever_holds_the_lock_may_call_another_verb() -> None:
    room = Room()
    thread = threading.Thread(target=room.enter_twice, daemon=True)
    thread.start()
    thread.join(timeout=10.0)
    assert not thread.is_alive()
