"""Write docs/third-party.md (every dependency with its licence) and sbom.cdx.json (CycloneDX, core install).

The packages are those of pyproject.toml; versions, licences and home pages come from what is installed in
the Python that runs this script. Packages of extras that are not installed there are listed without.

usage: python tools/make_licences.py [--check]
--check compares names only: versions differ from machine to machine.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "third-party.md"
SBOM = ROOT / "sbom.cdx.json"
NOT_SHIPPED = ("docs", "test", "dev")  # extras for those who work on edgepose
# what a package's own metadata does not say, or says in a hundred lines
KNOWN = {
    "protobuf": "BSD-3-Clause",
    "flatbuffers": "Apache-2.0",
    "numpy": "BSD-3-Clause (and others in its wheels)",
    "av": "BSD-3-Clause; its wheels carry FFmpeg (LGPL-3.0-or-later by its own word), x264 and x265 (GPL-2.0-or-later)",
    "opencv-python-headless": "Apache-2.0; its wheels carry FFmpeg: LGPL-2.1-or-later",
    "pycuda": "MIT",
    "nvidia-cuda-nvrtc": "NVIDIA proprietary",
    "torch": "BSD-3-Clause",
    "onnx": "Apache-2.0",
    "matplotlib": "Python Software Foundation License (matplotlib's own)",
    "pygame-ce": "LGPL-2.1-or-later",
    "aiortc": "BSD-3-Clause",
    "pycocotools": "BSD-2-Clause",
    "scikit-learn": "BSD-3-Clause",
    "tomli": "MIT",
}
HOMES = {
    "pycuda": "https://documen.tician.de/pycuda/",
    "nvidia-cuda-nvrtc": "https://developer.nvidia.com/cuda-zone",
    "torch": "https://pytorch.org",
    "onnx": "https://onnx.ai",
    "matplotlib": "https://matplotlib.org",
    "pygame-ce": "https://pyga.me",
    "aiortc": "https://github.com/aiortc/aiortc",
    "pycocotools": "https://github.com/ppwwyyxx/cocoapi",
    "scikit-learn": "https://scikit-learn.org",
    "tomli": "https://github.com/hukkin/tomli",
}


def requirements() -> dict[str, list[str]]:
    """Names of packages by "core" and by extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"core": project["dependencies"], **project["optional-dependencies"]}
    return {
        group: [name(r) for r in listed if not r.startswith("edgepose")]
        for group, listed in groups.items()
        if group not in NOT_SHIPPED
    }


def name(requirement: str) -> str:
    """The package of a requirement, normalised."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return normal(found[0]) if found else ""


def normal(text: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", text).lower()


def below(names: list[str]) -> list[str]:
    """The packages and everything they need here, extras aside."""
    found: dict[str, None] = {}
    queue = list(names)
    while queue:
        package = queue.pop(0)
        if package in found:
            continue
        found[package] = None
        try:
            needs = metadata.requires(package) or []
        except metadata.PackageNotFoundError:
            continue
        queue += [name(r) for r in needs if "extra ==" not in r and counts(r)]
    return sorted(found)


def counts(requirement: str) -> bool:
    """Whether a requirement is for this kind of machine, as its package being here shows."""
    try:
        metadata.version(name(requirement))
    except metadata.PackageNotFoundError:
        return False
    return True


def facts(package: str) -> dict[str, str]:
    """Version, licence and home page; what is not known is empty."""
    try:
        data: Any = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return {"version": "", "licence": KNOWN.get(package, ""), "home": HOMES.get(package, "")}
    return {
        "version": data["Version"],
        "licence": KNOWN.get(package) or licence(data),
        "home": HOMES.get(package) or home(data),
    }


def licence(data: Any) -> str:
    """The licence of a package in a few words."""
    expression = data.get("License-Expression")
    if expression:
        return str(expression)
    classified = [c for c in data.get_all("Classifier") or [] if c.startswith("License ::")]
    words = [c.rpartition(":: ")[2] for c in classified if not c.endswith("OSI Approved")]
    first = (data.get("License") or "").strip().splitlines()
    return ", ".join(words) or (first[0][:80] if first else "")


def home(data: Any) -> str:
    """The home page of a package."""
    urls = dict(u.split(", ", 1) for u in data.get_all("Project-URL") or [] if ", " in u)
    lower = {k.lower().replace("-", "").replace(" ", ""): v for k, v in urls.items()}
    for key in ("homepage", "home", "source", "repository", "sourcecode", "github"):
        if key in lower:
            return str(lower[key])
    return str(data.get("Home-page") or next(iter(urls.values()), ""))


def page() -> str:
    """The list for people."""
    groups = requirements()
    out = [
        "<!-- written by tools/make_licences.py -->",
        "# Third-party packages",
        "edgepose itself is MIT. It contains no code of other projects; what it imports is installed beside "
        "it by pip. Networks have licences of their own: `edgepose networks show NAME`. Those inside (MoveNet and "
        "MediaPipe's hands by Google, YOLOX by Megvii) and edgepose-lite-body, which stays in the repository, are named "
        "with their terms and with what was changed in `NOTICE.md` beside them, with the text of Apache-2.0.",
        "",
        "TensorRT, CUDA and jetson-utils are not installed by edgepose: they come with JetPack or from NVIDIA, "
        "under NVIDIA's terms (jetson-utils: MIT).",
        "",
        "The packages of the core install as a software bill of materials (CycloneDX): `sbom.cdx.json` in the "
        "repository.",
    ]
    core = below(groups["core"])
    for group, names in groups.items():
        packages = core if group == "core" else [p for p in below(names) if p not in core]
        out += ["", f"## {'Core install' if group == 'core' else f'Extra `{group}`'}"]
        out += ["", "| package | licence | |", "|---|---|---|"]
        for package in packages:
            known = facts(package)
            link = f"[home]({known['home']})" if known["home"].startswith("https://") else ""
            out.append(f"| {package} | {known['licence'].replace('|', ' ')} | {link} |")
    return "\n".join(out) + "\n"


def sbom() -> dict[str, Any]:
    """CycloneDX 1.5 of edgepose and its core dependencies as installed here."""
    from edgepose.version import __version__

    core = below(requirements()["core"])
    components = []
    for package in core:
        known = facts(package)
        if not known["version"]:
            continue
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": f"pkg:pypi/{package}@{known['version']}",
            "name": package,
            "version": known["version"],
            "purl": f"pkg:pypi/{package}@{known['version']}",
        }
        if known["licence"]:
            component["licenses"] = [{"license": {"name": known["licence"]}}]
        if known["home"].startswith("https://"):
            component["externalReferences"] = [{"type": "website", "url": known["home"]}]
        components.append(component)
    here = f"pkg:pypi/edgepose@{__version__}"
    versions = {c["name"]: c["bom-ref"] for c in components}
    depends = [
        {
            "ref": here,
            "dependsOn": sorted(versions[n] for n in requirements()["core"] if n in versions),
        }
    ]
    for package, ref in versions.items():
        needs = [name(r) for r in metadata.requires(package) or [] if "extra ==" not in r]
        depends.append(
            {"ref": ref, "dependsOn": sorted({versions[n] for n in needs if n in versions})}
        )
    text = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, here + text)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": here,
                "name": "edgepose",
                "version": __version__,
                "purl": here,
                "licenses": [{"license": {"id": "MIT"}}],
            }
        },
        "components": components,
        "dependencies": depends,
    }


def check() -> int:
    """1 where a package of pyproject.toml is missing in one of the files."""
    groups = requirements()
    text = PAGE.read_text() if PAGE.is_file() else ""
    listed = set(re.findall(r"^\| ([\w.-]+) \|", text, re.M))
    bill = json.loads(SBOM.read_text()) if SBOM.is_file() else {"components": []}
    in_bill = {c["name"] for c in bill["components"]}
    missing = [p for names in groups.values() for p in names if p not in listed]
    missing += [p for p in groups["core"] if p not in in_bill and p != "tomli"]
    for package in missing:
        print(f"{package} is missing; run: python tools/make_licences.py", file=sys.stderr)
    return int(bool(missing))


def main() -> int:
    """Write or compare."""
    sys.path.insert(0, str(ROOT))
    if "--check" in sys.argv:
        return check()
    PAGE.write_text(page())
    SBOM.write_text(json.dumps(sbom(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
