from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from rrl.replay.on_ray import Shared, share
from tests.unit.replay.builders import a_problem, a_replay, an_attempt, fill, progress_at, same

pytestmark = pytest.mark.slow
PROBLEMS = [a_problem(f"p{i}") for i in range(6)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
             runtime_env={"env_vars": {"PYTHONPATH": os.getcwd(), "RRL_TARGETS": "tests."}})
    yield ray
    ray.shutdown()


def test_a_shared_replay_answers_as_one_in_this_process(cluster: Any) -> None:
    here, there = a_replay(), Shared(share(a_replay, name="same"))
    for replay in (here, there):
        fill(replay, PROBLEMS, [(3, 9), (4, 9), (5, 9)])   # type: ignore[arg-type]
    for step in range(4):
        starts = here.draw(progress_at(step), 8)
        assert there.draw(progress_at(step), 8) == starts and len(starts) == 4
        attempts = [an_attempt(s.problem, (7, 0), prefix=s.prefix, solved=i % 2 == 0) for i, s in enumerate(starts)]
        assert there.lessons(attempts) == here.lessons(attempts)
        assert there.observe(attempts, progress_at(step)) == here.observe(attempts, progress_at(step))
        assert there.converted(PROBLEMS[0]) == here.converted(PROBLEMS[0])
        assert there.start(PROBLEMS[1], progress_at(step)) == here.start(PROBLEMS[1], progress_at(step))
    assert same(there.state_dict(), here.state_dict()) and there.rows() == here.rows()
    there.load_state_dict(here.state_dict())
    assert same(there.state_dict(), here.state_dict())


def test_many_workers_lose_nothing_and_errors_arrive_as_they_are(cluster: Any) -> None:
    owner = share(a_replay, name="shared")

    @cluster.remote
    def work(owner: Any, number: int) -> int:
        replay, mine = Shared(owner), a_problem(f"w{number}")
        for token in range(3, 9):
            replay.observe([an_attempt(mine, (token, 9))], progress_at(-1), warm_up=True)
        return len(replay.rows())

    cluster.get([work.remote(owner, number) for number in range(8)])
    rows = Shared(owner).rows()
    assert {row["problem"] for row in rows} == {f"w{n}" for n in range(8)} and len(rows) == 48
    state = Shared(owner).state_dict()
    with pytest.raises(ValueError, match="another prompt"):
        other = a_problem("w0")
        object.__setattr__(other, "prompt", (9, 9))
        Shared(owner).observe([an_attempt(other, (3, 9))], progress_at(0), warm_up=True)
    assert same(Shared(owner).state_dict()["store"]["shelf"], state["store"]["shelf"])
