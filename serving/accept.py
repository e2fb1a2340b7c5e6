"""The Accept header to a picture format (RFC 9110, section 12.5.1)."""

from serving.photo import Format
from serving.refusal import Refusal

_OFFERED = ", ".join(form.media_type for form in Format)


def chosen(accept: str) -> Format:
    """The format that the client likes best, PNG first of those it likes alike; Refusal 406 where it takes none."""
    wishes = _wishes(accept)
    liked = {form: _quality(form, wishes) for form in Format}
    best = max(Format, key=lambda form: liked[form])
    if liked[best] <= 0:
        raise Refusal(406, "not_acceptable", f"Accept is {accept}; it must allow one of {_OFFERED}")
    return best


def _wishes(accept: str) -> dict[str, float]:
    """Media range -> quality."""
    wishes = {}
    for wish in accept.lower().split(","):
        media, *parameters = (part.strip() for part in wish.split(";"))
        wishes[media] = next((_number(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
    return wishes


def _quality(form: Format, wishes: dict[str, float]) -> float:
    """The most specific media range decides."""
    for media in (form.media_type, "image/*", "*/*"):
        if media in wishes:
            return wishes[media]
    return 0.0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
