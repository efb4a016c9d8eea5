"""Plans applied, killed at every moment, undone and purged: no file is lost, none written over."""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from percert.files import file_sha256
from percert.search.deduplicate import apply, steps
from percert.search.deduplicate.apply import iter_apply, iter_purge, iter_undo
from percert.search.deduplicate.plan import (
    ACTIONS,
    Plan,
    PlannedFile,
    PlannedStep,
    read_plan,
    write_plan,
)
from percert.search.tables.files import path_key

BYTES = b"the picture"
OTHER = b"a copy of other bytes"
ODD = [os.fsdecode(b"caf\xe9.png"), "new\nline.png", "quo'te\".png", " back\\slash.png"]


def planned(path):
    status = os.stat(path)
    return PlannedFile(path_key(path), status.st_size, status.st_mtime_ns, file_sha256(path))


@pytest.fixture
def world(tmp_path):
    """Makes files, and a plan for them: kept.png stays, all others are its copies."""

    def make(action, names=("a.png", "sub/b.png"), contents=BYTES):
        folder = tmp_path / "photos"
        (folder / "sub").mkdir(parents=True)
        (folder / "kept.png").write_bytes(BYTES)
        made = []
        for second, name in enumerate(names):
            (folder / name).write_bytes(contents)
            os.utime(folder / name, (1_000_000_000 + second, 1_000_000_000 + second))
            made.append(
                PlannedStep(
                    planned(folder / name),
                    planned(folder / "kept.png"),
                    "identical" if contents == BYTES else "certified",
                    0.0,
                    1.0,
                    path_key(tmp_path / "moved" / name) if action == "move" else None,
                )
            )
        write_plan(Plan(action, tuple(made)), tmp_path / "plan.json")
        return folder, tmp_path / "plan.json"

    return make


def state(folder):
    """Every file below, by name: bytes, time of change."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def all_ok(outcomes):
    outcomes = list(outcomes)
    assert [one for one in outcomes if not one.ok] == []
    return len(outcomes)


def reasons(outcomes):
    return [one.reason for one in outcomes if not one.ok]


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_applied_is_undone_to_the_byte_and_second(world, action):
    folder, plan = world(action, ["a.png", "sub/b.png", *ODD])
    before = state(folder)
    assert all_ok(iter_apply(plan)) == 6
    assert (folder / "kept.png").read_bytes() == BYTES
    if action == "hardlink":
        assert all(os.path.samefile(folder / name, folder / "kept.png") for name in ODD)
    else:
        shown = [n for n in state(folder) if ".percert-trash-" not in n]
        assert shown == ["kept.png"]
    if action == "move":
        assert sorted(state(folder.parent / "moved")) == sorted(set(before) - {"kept.png"})
    assert list(iter_apply(plan)) == []
    assert all_ok(iter_undo(plan)) == 6
    assert state(folder) == before
    assert not os.path.samefile(folder / "a.png", folder / "kept.png")
    assert list(folder.rglob(".percert-trash-*")) == []
    assert list(iter_undo(plan)) == []
    assert all_ok(iter_apply(plan)) == 6


@pytest.mark.parametrize("action", ACTIONS)
def test_a_dry_run_changes_nothing(world, action):
    folder, plan = world(action)
    before = state(folder.parent)
    assert all_ok(iter_apply(plan, dry_run=True)) == 2
    (folder / "a.png").write_bytes(b"another")
    assert reasons(iter_apply(plan, dry_run=True)) == ["has changed since"]
    (folder / "a.png").write_bytes(BYTES)
    os.utime(folder / "a.png", (1_000_000_000, 1_000_000_000))
    assert state(folder.parent) == before


class Killed(BaseException):
    """The process ends here."""


#: Every call by which files are changed.
CALLS = [(os, name) for name in ("link", "rename", "replace", "fsync", "mkdir")]
CALLS += [(shutil, "copy2"), (Path, "unlink")]


def dying(call, patch, folder, snapshot, fatal, *, after, other_disk=False):
    """``call()``, killed at the change number ``fatal``; how the folder was then is kept.

    What runs while the exception passes, and would not run in a killed process, is so undone.
    """
    count = iter(range(10**6))
    dead = []

    def guard(real, name):
        def guarded(*args, **named):
            now = next(count)
            across = name == "link" and "moved" in str(args[1]) and ".part" not in str(args[0])
            if dead or (now == fatal and not after):
                return die()
            try:
                if other_disk and across:
                    raise OSError(errno.EXDEV, "Invalid cross-device link")
                return real(*args, **named)
            finally:
                if now == fatal:
                    die()

        return guarded

    def die():
        if not dead:
            dead.append(True)
            subprocess.run(["cp", "-a", folder, snapshot], check=True)  # hard links stay linked
        raise Killed

    with patch.context() as patched:
        for module, name in CALLS:
            patched.setattr(module, name, guard(getattr(module, name), name))
        call()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("other_disk", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_is_killed_anywhere_goes_on_or_is_undone(
    world, action, other_disk, after, monkeypatch, tmp_path
):
    if other_disk and action != "move":
        pytest.skip("trash folders lie on the disk of the file")
    folder, plan = world(action, ["sub/b.png"])
    before = state(folder)
    kept, snapshot = (tmp_path.parent / f"{tmp_path.name} {name}" for name in ("kept", "then"))
    subprocess.run(["cp", "-a", tmp_path, kept], check=True)
    how = {"after": after, "other_disk": other_disk}
    kills = 0
    for goes_on in (True, False):
        for fatal in range(10**6):
            shutil.rmtree(tmp_path)
            subprocess.run(["cp", "-a", kept, tmp_path], check=True)
            try:
                dying(lambda: list(iter_apply(plan)), monkeypatch, tmp_path, snapshot, fatal, **how)
                break
            except Killed:
                kills += 1
            shutil.rmtree(tmp_path)
            snapshot.rename(tmp_path)
            there = {os.path.basename(name): found[0] for name, found in state(tmp_path).items()}
            assert {os.path.basename(name) for name in before} <= set(there)  # nothing is lost
            if goes_on:
                all_ok(iter_apply(plan))
                if action == "hardlink":
                    assert os.path.samefile(folder / "sub" / "b.png", folder / "kept.png")
                else:
                    assert not (folder / "sub" / "b.png").exists()
            all_ok(iter_undo(plan))
            assert state(folder) == before
            assert [one for one in state(tmp_path) if "moved" in one or ".part" in one] == []
            assert list(tmp_path.rglob(".percert-trash-*")) == []
    assert kills >= 12


@pytest.mark.parametrize("action", ACTIONS)
def test_undoing_that_is_killed_anywhere_goes_on(world, action, monkeypatch, tmp_path):
    folder, plan = world(action, ["sub/b.png"])
    before = state(folder)
    all_ok(iter_apply(plan))
    kept, snapshot = (tmp_path.parent / f"{tmp_path.name} {name}" for name in ("kept", "then"))
    subprocess.run(["cp", "-a", tmp_path, kept], check=True)
    kills = 0
    for after in (False, True):
        for fatal in range(10**6):
            shutil.rmtree(tmp_path)
            subprocess.run(["cp", "-a", kept, tmp_path], check=True)
            try:
                dying(
                    lambda: list(iter_undo(plan)),
                    monkeypatch,
                    tmp_path,
                    snapshot,
                    fatal,
                    after=after,
                )
                break
            except Killed:
                kills += 1
            shutil.rmtree(tmp_path)
            snapshot.rename(tmp_path)
            if fatal % 2:  # whoever changes their mind finds the plan applied
                all_ok(iter_apply(plan))
                there = os.path.lexists(folder / "sub" / "b.png")
                assert there == (action == "hardlink")
            all_ok(iter_undo(plan))
            assert state(folder) == before
            assert [one for one in state(tmp_path) if "moved" in one or ".part" in one] == []
            assert list(tmp_path.rglob(".percert-trash-*")) == []
    assert kills >= 6


def test_what_has_changed_is_left_alone_and_named(world):
    folder, plan = world("delete", [f"{n}.png" for n in range(6)])
    (folder / "0.png").unlink()
    os.utime(folder / "1.png")
    status = (folder / "2.png").stat()
    (folder / "2.png").write_bytes(b"THE PICTURE")  # as long, at the same time
    os.utime(folder / "2.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    (folder / "3.png").unlink()
    (folder / "3.png").symlink_to(folder / "kept.png")
    (folder / "4.png").unlink()
    (folder / "4.png").mkdir()
    before = state(folder)
    found = {os.path.basename(one.path): one.reason for one in iter_apply(plan)}
    assert found == {
        "0.png": "is gone",
        "1.png": "has changed since",
        "2.png": "has changed since",
        "3.png": "is a symbolic link",
        "4.png": "is no regular file",
        "5.png": None,
    }
    after = state(folder)
    assert {name: after[name] for name in before if name != "5.png"} == {
        name: before[name] for name in before if name != "5.png"
    }
    assert all_ok(iter_undo(plan)) == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_is_done_for_a_kept_file_that_is_gone_or_another(world, action):
    folder, plan = world(action)
    (folder / "kept.png").unlink()
    before = state(folder)
    assert all("the file to keep" in why and "is gone" in why for why in reasons(iter_apply(plan)))
    os.link(folder / "a.png", folder / "kept.png")
    assert len(reasons(iter_apply(plan))) == 2
    assert {**state(folder), "kept.png": None} == {**before, "kept.png": None}


def test_one_file_by_two_names_is_left_alone(world):
    folder, plan = world("delete")
    shutil.copystat(folder / "kept.png", folder / "a.png")
    told = json.loads(plan.read_text())
    told["steps"][0]["file"]["mtime_ns"] = os.stat(folder / "kept.png").st_mtime_ns
    plan.write_text(json.dumps(told))
    (folder / "a.png").unlink()
    os.link(folder / "kept.png", folder / "a.png")
    (why,) = reasons(iter_apply(plan))
    assert why == f"is the same file as {folder / 'kept.png'}"


def test_nothing_is_written_over(world):
    folder, plan = world("move")
    taken = folder.parent / "moved" / "a.png"
    taken.parent.mkdir()
    taken.write_bytes(b"mine")
    assert reasons(iter_apply(plan)) == [f"there is something else at {taken}"]
    assert (taken.read_bytes(), (folder / "a.png").read_bytes()) == (b"mine", BYTES)
    assert (folder.parent / "moved" / "sub" / "b.png").exists()
    (folder / "sub" / "b.png").write_bytes(b"since then")
    (why,) = reasons(iter_undo(plan))
    assert "there is something else now" in why
    assert (folder / "sub" / "b.png").read_bytes() == b"since then"
    assert (folder.parent / "moved" / "sub" / "b.png").read_bytes() == BYTES
    (folder / "sub" / "b.png").unlink()
    assert all_ok(iter_undo(plan)) == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EXDEV, "is on another file system than "),
        (errno.EPERM, "is on a file system without hard links"),
        (errno.EROFS, "cannot be changed (Read-only file system)"),
        (errno.EACCES, "cannot be changed (Permission denied)"),
    ],
)
def test_a_hard_link_that_cannot_be_leaves_all_as_it_was(world, code, said, monkeypatch):
    folder, plan = world("hardlink")
    before = state(folder)

    def link(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        assert [why.startswith(said) for why in reasons(iter_apply(plan))] == [True, True]
    assert state(folder) == before
    assert list(folder.rglob(".percert-trash-*")) == []
    assert all_ok(iter_apply(plan)) == 2


@pytest.mark.parametrize("action", ["delete", "move"])
def test_where_there_are_no_hard_links_files_are_renamed(world, action, monkeypatch):
    folder, plan = world(action)
    before = state(folder)

    def link(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    assert all_ok(iter_apply(plan)) == 2
    assert all_ok(iter_undo(plan)) == 2
    assert state(folder) == before


@pytest.mark.parametrize("action", ["delete", "move"])
def test_a_folder_that_cannot_be_written_stops_no_other(world, action, monkeypatch):
    folder, plan = world(action)
    really = type(plan).unlink

    def unlink(self, *args, **named):
        if self == folder / "a.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        really(self, *args, **named)

    monkeypatch.setattr(type(plan), "unlink", unlink)
    assert reasons(iter_apply(plan)) == ["cannot be changed (Permission denied)"]
    assert (folder / "a.png").exists()
    assert not (folder / "sub" / "b.png").exists()
    assert [name for name in state(folder.parent) if name.endswith("/a.png")] == ["photos/a.png"]


@pytest.mark.parametrize("action", ["delete", "hardlink"])
def test_a_purge_deletes_for_good_and_only_beside_the_file_that_is_kept(world, action):
    folder, plan = world(action)
    all_ok(iter_apply(plan))
    before = state(folder)
    assert all_ok(iter_purge(plan, dry_run=True)) == 2
    assert state(folder) == before
    (folder / "kept.png").rename(folder / "elsewhere.png")
    assert all("stays in the trash" in why for why in reasons(iter_purge(plan)))
    (folder / "elsewhere.png").rename(folder / "kept.png")
    assert {**state(folder)} == before
    assert all_ok(iter_purge(plan)) == 2
    assert list(folder.rglob(".percert-trash-*")) == []
    assert (folder / "kept.png").read_bytes() == BYTES
    assert (folder / "a.png").exists() == (action == "hardlink")
    assert reasons(iter_undo(plan)) == ["was purged"] * 2
    assert list(iter_purge(plan)) == []


def test_what_was_moved_is_not_purged(world):
    _, plan = world("move")
    with pytest.raises(ValueError, match="nothing of it is in the trash"):
        list(iter_purge(plan))


def test_copies_of_other_bytes_are_no_hard_links(world):
    _, plan = world("hardlink", contents=OTHER)
    with pytest.raises(ValueError, match="has other bytes than"):
        list(iter_apply(plan))


def test_the_plan_that_was_applied_is_the_plan_that_is_undone(world):
    _, plan = world("delete")
    all_ok(iter_apply(plan))
    told = json.loads(plan.read_text())
    del told["steps"][0]
    plan.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="of another plan, or of this one before it was changed"):
        list(iter_undo(plan))


def test_a_plan_that_was_applied_is_not_written_over(world):
    _, plan = world("delete")
    another = Plan("hardlink", ())
    all_ok(iter_apply(plan))
    with pytest.raises(ValueError, match="was applied; undo or purge it"):
        write_plan(another, plan)
    all_ok(iter_undo(plan))
    write_plan(another, plan)
    assert read_plan(plan) == another
    assert list(iter_apply(plan)) == []


def test_two_runs_at_once_are_refused(world):
    _, plan = world("delete")
    first = iter_apply(plan)
    next(first)
    with pytest.raises(ValueError, match="another run is at this plan"):
        list(iter_apply(plan))
    assert all_ok(first) == 1


def test_half_a_line_of_the_journal_is_forgotten(world):
    folder, plan = world("delete")
    all_ok(iter_apply(plan))
    journal = plan.with_name("plan.json.journal")
    journal.write_bytes(journal.read_bytes()[:-5])
    assert all_ok(iter_apply(plan)) == 1
    assert len({json.loads(line)["state"] for line in journal.read_text().splitlines()[1:]}) == 2
    assert all_ok(iter_undo(plan)) == 2
    journal.write_text("no json\n")
    with pytest.raises(ValueError, match="not the journal of a plan"):
        list(iter_undo(plan))
    assert (folder / "a.png").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.update(format="percert plan 9"), 'expected "format"'),
        (lambda told: told.pop("steps"), "'steps' is missing"),
        (lambda told: told.update(action="shred"), "expected one of delete, hardlink, move"),
        (lambda told: told["steps"].append(told["steps"][0]), "twice"),
        (lambda told: told["steps"][0].update(file=told["steps"][0]["keep"]), "which it keeps"),
        (lambda told: told["steps"][0]["file"].update(path="a.png"), "expected a path in full"),
        (lambda told: told["steps"][0]["file"].update(bytes="many"), "a file has a path"),
        (lambda told: told["steps"][0].update(note=1), "not a plan that can be read"),
        (lambda told: told.update(action="move"), "does not say in full where to move"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(world, change, said):
    folder, plan = world("delete")
    before = state(folder)
    told = json.loads(plan.read_text())
    change(told)
    plan.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=said):
        read_plan(plan)
    with pytest.raises(ValueError, match=said):
        list(iter_apply(plan))
    assert state(folder) == before


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b"\xff\xfe", b'{"steps": []}'])
def test_what_is_no_plan_is_said_to_be_none(tmp_path, content):
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(ValueError, match="not a plan"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(ValueError, match="no such file"):
        read_plan(tmp_path / "none.json")


def test_a_trash_folder_that_leads_elsewhere_is_not_used(world, tmp_path):
    folder, plan = world("delete")
    (tmp_path / "elsewhere").mkdir()
    trash = steps.target_of("delete", read_plan(plan).steps[0], file_sha256(plan)).parent
    trash.symlink_to(tmp_path / "elsewhere")
    assert reasons(apply.iter_apply(plan)) == [f"{trash} is a symbolic link"]
    assert (folder / "a.png").exists()
