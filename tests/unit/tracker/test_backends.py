import json

import pytest

from rrl.records import Progress
from rrl.tracker.tensorboard import Tensorboard
from rrl.tracker.wandb_mode import resolve_mode


def progress(step: int) -> Progress:
    return Progress(step=step, sampled_tokens=10 * step, token_budget=100, history=(), first=None, peak=None)


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_auto_is_offline_without_an_account(no_account):
    assert resolve_mode() == "offline"


def test_auto_is_online_with_a_key_or_a_login_file(no_account, monkeypatch):
    no_account.write_text("machine api.wandb.ai login user password none\n")
    assert resolve_mode() == "online"
    no_account.unlink()
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert resolve_mode() == "online"


def test_the_environment_wins_over_auto_and_must_name_a_mode(no_account, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert resolve_mode() == "disabled"
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(ValueError, match="WANDB_MODE is 'sometimes'"):
        resolve_mode()


def test_tensorboard_points_stand_at_sampled_tokens(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracker = Tensorboard(output_dir=tmp_path, axis="sampled_tokens", max_table_rows=10)
    for step in (-1, 1, 2):
        tracker.log(progress(step), {"eval/hard_success": step / 4})
    tracker.table("prefixes", [{"text": "a|b"}])
    tracker.close("finished")
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("eval/hard_success")] == [(-10, -0.25), (10, 0.25), (20, 0.5)]
    assert json.dumps(events.Tags()["tensors"]).count("prefixes") == 1
