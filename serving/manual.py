"""The page at /docs, written from the OpenAPI document; it loads nothing from anywhere."""

from collections.abc import Mapping
from html import escape
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }}
h2 {{ margin: 2.5rem 0 .5rem; font-size: 1.1rem; }} code, pre {{ font-family: ui-monospace, monospace; }}
pre {{ background: #8882; padding: .7rem; overflow-x: auto; }}
td {{ padding: .1rem 1rem .1rem 0; vertical-align: top; }}
:root {{ color-scheme: light dark; }}
</style>
<h1>{title}</h1>
<p>The machine-readable form of this page is <a href="openapi.json">openapi.json</a>. Every error is JSON:
<code>{{"error": {{"code": "...", "message": "..."}}}}</code>.</p>
{sections}
</html>
"""
_SENT = {"photo": "old.jpg", "album": "scans.zip"}  # examples of a form's files
_SAVED = {"image/png": "new.png", "application/zip": "pictures.zip"}  # and of what comes back


def page(document: Mapping[str, Any]) -> str:
    """The OpenAPI `document` as HTML."""
    sections = [
        _section(path, method, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return _PAGE.format(title=escape(document["info"]["title"]), sections="\n".join(sections))


def _section(path: str, method: str, operation: Mapping[str, Any]) -> str:
    inputs = _fields(operation) | {
        f"{parameter['name']} ({parameter['in']})": parameter.get("description", "")
        for parameter in operation.get("parameters", ())
    }
    answers = {status: answer["description"] for status, answer in operation["responses"].items()}
    return (
        f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>\n<p>{escape(operation['summary'])}.</p>\n"
        f"{_table(inputs)}<pre>{escape(_example(path, method, operation))}</pre>\n{_table(answers)}"
    )


def _form(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of the form; empty where the request has none."""
    content = operation.get("requestBody", {}).get("content", {})
    schema: Mapping[str, Any] = content.get("multipart/form-data", {}).get("schema", {})
    return schema


def _fields(operation: Mapping[str, Any]) -> dict[str, str]:
    """The form's fields and what they are."""
    return {
        f"{name} (form {'file' if field.get('format') == 'binary' else 'text'})": field["description"]
        for name, field in _form(operation).get("properties", {}).items()
    }


def _example(path: str, method: str, operation: Mapping[str, Any]) -> str:
    """A curl line: what must be sent, and where what comes back is put."""
    request = " -X DELETE" if method == "delete" else ""
    form = "".join(f" -F {name}=@{_SENT[name]}" for name in _form(operation).get("required", ()))
    made = next((name for media, name in _SAVED.items() if media in _answered(operation)), None)
    saved = f" -o {made}" if made else ""
    return f"curl{request}{form}{saved} http://127.0.0.1:8000{path.replace('{album}', 'ID')}"


def _answered(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The media types of the successful answer."""
    success = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
    content: Mapping[str, Any] = success.get("content", {})
    return content


def _table(rows: Mapping[str, str]) -> str:
    if not rows:
        return ""
    cells = (f"<tr><td><code>{escape(name)}</code><td>{escape(text)}" for name, text in rows.items())
    return f"<table>{''.join(cells)}</table>\n"
