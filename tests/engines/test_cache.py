"""The cache of plans: keys, sidecars, atomic writes, locks. No GPU library takes part."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.engines.cache import (
    ENVIRONMENT,
    Lookup,
    PlanCache,
    PlanKey,
    Sidecar,
    export_plan,
    import_plan,
    read_sidecar,
    sidecar_path,
    write_plan,
)
from edgepose.errors import EngineError, NetworkFileError, OutputError

KEY = PlanKey(
    onnx="ab" * 32,
    flavour="tensorrt",
    version="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    driver="12.6",
    precision="fp16",
    shape="x 1x3x224x224",
)
INTEGERS = {f.name: 1 for f in fields(PlanKey) if f.type == "int"}
OTHER = INTEGERS | {
    f.name: "other" for f in fields(PlanKey) if f.name not in ("precision", *INTEGERS)
}
OTHER["precision"] = "fp32"
PLAN = b"plan" * 1000


def sidecar(key: PlanKey = KEY, name: str = "resnet18") -> Sidecar:
    return Sidecar(key, name, "/models/resnet18.onnx", 0, "", time.time(), 12.5)


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "engines")


def test_kept_and_found(cache: PlanCache) -> None:
    assert cache.look_up("resnet18", KEY) == Lookup(None, "none was built yet")
    path = cache.store(PLAN, sidecar())
    assert path.name.startswith("resnet18.fp16.")
    assert cache.look_up("resnet18", KEY) == Lookup(path)
    assert path.read_bytes() == PLAN
    (entry,) = cache.entries()
    assert (entry.path, entry.damage, entry.size) == (path, "", len(PLAN))


@pytest.mark.parametrize("field", [f.name for f in fields(PlanKey)])
def test_every_field_makes_another_plan_and_is_named(cache: PlanCache, field: str) -> None:
    path = cache.store(PLAN, sidecar())
    other = replace(KEY, **{field: OTHER[field]})
    lookup = cache.look_up("resnet18", other)
    assert lookup.path is None
    assert lookup.reason.startswith(field.replace("_", " ") + ": ")
    assert f"now {OTHER[field]}" in lookup.reason
    assert lookup.rebuild == (field in ENVIRONMENT or field == "onnx")
    assert cache.store(b"other", sidecar(other)) != path
    assert cache.look_up("resnet18", KEY).path == path


def test_the_nearest_key_explains(cache: PlanCache) -> None:
    cache.store(PLAN, sidecar(replace(KEY, version="8.6.1", driver="12.2", precision="fp32")))
    cache.store(PLAN, sidecar(replace(KEY, driver="12.4")))
    assert cache.look_up("resnet18", KEY).reason == "driver: 12.4, now 12.6"
    assert cache.look_up("densenet", KEY).reason == "none was built yet"
    assert "none, now 1:4:8" not in str(cache.look_up("resnet18", replace(KEY, batch="1:4:8")))


TEXT = st.text(st.characters(exclude_categories=("C", "Z")), max_size=9)


@given(
    st.fixed_dictionaries(
        {
            **{f.name: TEXT for f in fields(PlanKey)},
            **{name: st.integers(-1, 64) for name in INTEGERS},
            "precision": st.sampled_from(["fp32", "fp16", "int8"]),
        }
    )
)
def test_sidecars_survive_json(values: dict[str, str | int]) -> None:
    key = PlanKey(**values)  # type: ignore[arg-type]
    text = json.dumps(sidecar(key).to_json())
    from edgepose.engines.cache import _sidecar

    back = _sidecar(json.loads(text))
    assert back.key == key
    assert back.key.digest() == key.digest()


@given(st.lists(st.tuples(*[st.sampled_from([f.name for f in fields(PlanKey)])] * 1)))
def test_digests_differ_when_keys_do(names: list[tuple[str]]) -> None:
    other = replace(KEY, **{n: OTHER[n] for (n,) in names})
    assert (other.digest() == KEY.digest()) == (other == KEY)
    assert bool(KEY.differences(other)) == (other != KEY)


# --- damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: p.write_bytes(PLAN[:100]), "cut off: 100 of 4000 bytes"),
        (lambda p: p.write_bytes(b""), "cut off: 0 of 4000"),
        (lambda p: p.write_bytes(PLAN[:-1] + b"x"), "was changed since it was built"),
        (lambda p: sidecar_path(p).unlink(), "is missing"),
        (lambda p: sidecar_path(p).write_text("{"), "damaged or not readable"),
        (lambda p: sidecar_path(p).write_text("[]"), "of another format"),
        (lambda p: sidecar_path(p).write_text('{"format": 1}'), "is damaged: 'key'"),
        (lambda p: sidecar_path(p).write_text('{"format": 99}'), "of another format"),
        (lambda p: sidecar_path(p).write_bytes(b"\xff\xfe"), "damaged or not readable"),
    ],
)
def test_damage_is_noticed_and_named(cache: PlanCache, damage: object, reason: str) -> None:
    path = cache.store(PLAN, sidecar())
    damage(path)  # type: ignore[operator]
    lookup = cache.look_up("resnet18", KEY)
    assert lookup.path is None
    assert lookup.rebuild
    assert reason in lookup.reason
    assert "\n" not in lookup.reason
    assert cache.store(PLAN, sidecar()) == path
    assert cache.look_up("resnet18", KEY) == Lookup(path)


def test_a_renamed_plan_is_not_taken(cache: PlanCache) -> None:
    wrong = cache.store(PLAN, sidecar(replace(KEY, driver="11.4")))
    right = cache.path("resnet18", KEY)
    wrong.rename(right)
    sidecar_path(wrong).rename(sidecar_path(right))
    reason = cache.look_up("resnet18", KEY).reason
    assert reason == "its sidecar belongs to another plan: driver: 11.4, now 12.6"


def test_wrong_types_in_a_sidecar(cache: PlanCache) -> None:
    path = cache.store(PLAN, sidecar())
    data = json.loads(sidecar_path(path).read_text())
    data["key"]["gpu"] = 5
    sidecar_path(path).write_text(json.dumps(data))
    with pytest.raises(NetworkFileError, match="field gpu"):
        read_sidecar(sidecar_path(path))


def test_the_sidecar_can_be_read_by_people(cache: PlanCache) -> None:
    text = sidecar_path(cache.store(PLAN, sidecar())).read_text()
    data = json.loads(text)
    assert data["key"]["gpu"] == "Orin"
    assert data["bytes"] == len(PLAN)
    assert text.count("\n") > 15


# --- writing


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """As on a full disk: no file can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk(cache: PlanCache) -> None:
    path = cache.store(PLAN, sidecar())
    before = sorted(cache.folder.iterdir())
    with (
        files_at_most(1000),
        pytest.raises(OutputError, match=r"cannot be kept in .*Free some space") as caught,
    ):
        cache.store(b"new" * 2000, sidecar())
    assert "\n" not in str(caught.value)
    assert sorted(cache.folder.iterdir()) == before
    assert path.read_bytes() == PLAN
    assert cache.look_up("resnet18", KEY).path == path


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "engines").touch()
    cache = PlanCache(tmp_path / "engines")
    with pytest.raises(OutputError, match="EDGEPOSE_CACHE"):
        cache.store(PLAN, sidecar())
    with pytest.raises(OutputError), cache.lock("resnet18", KEY, lambda: None):
        pass
    assert cache.look_up("resnet18", KEY).path is None
    assert cache.entries() == []


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEPOSE_CACHE", str(tmp_path / "elsewhere"))
    assert PlanCache().folder == tmp_path / "elsewhere" / "engines"


def test_readers_see_whole_files_while_another_process_writes(cache: PlanCache) -> None:
    """A plan is replaced again and again; no reader ever finds it cut off for good."""
    cache.store(PLAN, sidecar())
    code = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from edgepose.engines.cache import PlanCache
        from tests.engines.test_cache import sidecar
        cache = PlanCache(Path(sys.argv[1]))
        for i in range(40):
            cache.store(bytes([65 + i % 20]) * (1000 + i * 977), sidecar())
        """
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(cache.folder)], cwd=Path(__file__).parents[2]
    )
    sizes = set()
    while writer.poll() is None:
        content = cache.path("resnet18", KEY).read_bytes()
        assert len(set(content)) <= 4
        sizes.add(len(content))
    assert writer.returncode == 0
    assert len(sizes) > 1
    assert cache.look_up("resnet18", KEY).path is not None


# --- locks


def test_one_process_holds_the_lock(cache: PlanCache) -> None:
    code = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from edgepose.engines.cache import PlanCache
        from tests.engines.test_cache import KEY
        with PlanCache(Path(sys.argv[1])).lock("resnet18", KEY, lambda: None):
            print("held", flush=True)
            sys.stdin.readline()
        print("released", flush=True)
        """
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(cache.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    events = []

    def waiting() -> None:
        events.append("waiting")
        assert holder.stdin is not None
        holder.stdin.write("go\n")
        holder.stdin.flush()

    with cache.lock("resnet18", KEY, waiting):
        events.append("mine")
    assert events == ["waiting", "mine"]
    assert holder.communicate(timeout=30)[0] == "released\n"
    with cache.lock("resnet18", replace(KEY, driver="x"), lambda: events.append("no")):
        pass
    assert events == ["waiting", "mine"]


def test_a_killed_builder_leaves_no_lock(cache: PlanCache) -> None:
    code = (
        "import sys, os; from pathlib import Path\n"
        "from edgepose.engines.cache import PlanCache\n"
        "from tests.engines.test_cache import KEY\n"
        "with PlanCache(Path(sys.argv[1])).lock('resnet18', KEY, lambda: None): os._exit(9)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(cache.folder)], cwd=Path(__file__).parents[2], timeout=60
    )
    assert run.returncode == 9
    with cache.lock("resnet18", KEY, lambda: pytest.fail("the lock is still held")):
        pass


# --- finding, removing, carrying


def test_find_and_remove(cache: PlanCache) -> None:
    a = cache.store(PLAN, sidecar())
    b = cache.store(PLAN, sidecar(replace(KEY, precision="fp32")))
    assert {e.path for e in cache.find("resnet18")} == {a, b}
    assert [e.path for e in cache.find("fp32")] == [b]
    assert [e.path for e in cache.find(KEY.digest())] == [a]
    assert [e.path for e in cache.find(str(a))] == [a]
    assert cache.find("densenet") == []
    (entry,) = cache.find("fp32")
    assert cache.remove(entry) == len(PLAN)
    assert [e.path for e in cache.entries()] == [a]
    assert not sidecar_path(b).exists()


def test_leftovers_of_killed_builds(cache: PlanCache) -> None:
    cache.store(PLAN, sidecar())
    fresh, old = cache.folder / ".x.engine.1.part", cache.folder / ".x.engine.2.part"
    for path in (fresh, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert cache.leftovers() == [old]


def test_export_and_import(cache: PlanCache, tmp_path: Path) -> None:
    cache.store(PLAN, sidecar())
    (entry,) = cache.entries()
    folder = tmp_path / "usb"
    folder.mkdir()
    carried = export_plan(cache, entry, folder)
    assert carried == folder / entry.path.name
    named = export_plan(cache, entry, folder / "mine.engine")
    assert named.read_bytes() == PLAN
    other = PlanCache(tmp_path / "other")
    path = import_plan(other, named)
    assert path.name == entry.path.name
    assert other.look_up("resnet18", KEY) == Lookup(path)


def test_damaged_plans_are_neither_exported_nor_imported(cache: PlanCache, tmp_path: Path) -> None:
    path = cache.store(PLAN, sidecar())
    carried = export_plan(cache, cache.entries()[0], tmp_path / "a.engine")
    carried.write_bytes(PLAN[:10])
    with pytest.raises(EngineError, match=r"cannot be imported: .*cut off"):
        import_plan(cache, carried)
    sidecar_path(carried).unlink()
    with pytest.raises(EngineError, match=r"cannot be imported: Sidecar .* is missing"):
        import_plan(cache, carried)
    with pytest.raises(EngineError, match="does not exist"):
        import_plan(cache, tmp_path / "none.engine")
    path.write_bytes(b"")
    with pytest.raises(EngineError, match="cannot be exported"):
        export_plan(cache, cache.entries()[0], tmp_path / "b.engine")
    assert not (tmp_path / "b.engine").exists()


def test_odd_names_stay_in_the_folder(cache: PlanCache) -> None:
    for name in ("../../evil", "a/b", "", "n" * 300, "naïve ü", ".hidden"):
        path = cache.store(PLAN, sidecar(name=name))
        assert path.parent == cache.folder
        assert cache.look_up(name, KEY).path == path


@pytest.mark.parametrize("what", ["folder", "pipe", "loop", "dangling", "endless", "locked"])
@pytest.mark.parametrize("suffix", [".engine", ".engine.json", ".lock", ".part"])
def test_what_is_no_file_stops_nothing(cache: PlanCache, what: str, suffix: str) -> None:
    """Something else than a file where the cache has one: others are found, and nothing waits for it."""
    whole = cache.store(PLAN, sidecar(replace(KEY, precision="fp32")))
    path = cache.path("resnet18", KEY)
    at = path.with_suffix(suffix) if suffix != ".part" else path.with_name(".x.engine.1.part")
    odd = {
        "folder": at.mkdir,
        "pipe": lambda: os.mkfifo(at),
        "loop": lambda: at.symlink_to(at),
        "dangling": lambda: at.symlink_to("nowhere/at all"),
        "endless": lambda: at.symlink_to("/dev/zero"),
        "locked": lambda: at.touch(mode=0o000),
    }
    odd[what]()
    if suffix == ".engine.json":
        path.write_bytes(PLAN)
    assert cache.look_up("resnet18", KEY).path is None
    assert whole in [e.path for e in cache.entries() if not e.damage]
    assert [e.path for e in cache.find("fp32")] == [whole]
    cache.calibrated("resnet18", KEY)
    assert cache.leftovers(older_than=-60) == ([at] if suffix == ".part" else [])
    with suppress(OutputError), cache.lock("resnet18", KEY, lambda: None):
        cache.store(PLAN, sidecar())
        assert cache.look_up("resnet18", KEY).path == path


@pytest.mark.parametrize(
    ("field", "value"),
    [("precision", "../../../up"), ("precision", "/../../../up"), ("gpu", "Orin\x1b[31m")],
)
def test_a_foreign_sidecar_names_no_place_outside(tmp_path: Path, field: str, value: str) -> None:
    plan = tmp_path / "usb" / "a.engine"
    full = write_plan(plan, PLAN, replace(sidecar(), key=KEY))
    data = full.to_json()
    data["key"][field] = value
    sidecar_path(plan).write_text(json.dumps(data))
    before = sorted(p for p in tmp_path.rglob("*"))
    with pytest.raises(EngineError, match="cannot be imported"):
        import_plan(PlanCache(tmp_path / "cache" / "engines"), plan)
    assert sorted(p for p in tmp_path.rglob("*")) == before
