"""Texts of strangers in CSV: a spreadsheet must not take one for a formula and run it."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
#: Spreadsheets show what follows as it is.
MARK = "'"


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula; `meant` gives it back."""
    return MARK + text if _is_risky(text) else text


def meant(text: str) -> str:
    """What was written before `harmless` marked it."""
    rest = text.removeprefix(MARK)
    return rest if _is_risky(rest) else text


def _is_risky(text: str) -> bool:
    return text.lstrip(f" {MARK}").startswith(FORMULA)
