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
        f"{_table(inputs)}{_example(path, operation)}{_table(answers)}"
    )


def _fields(operation: Mapping[str, Any]) -> dict[str, str]:
    """The form's fields and what they are."""
    content = operation.get("requestBody", {}).get("content", {})
    properties = content.get("multipart/form-data", {}).get("schema", {}).get("properties", {})
    return {f"{name} (form file)": field["description"] for name, field in properties.items()}


def _example(path: str, operation: Mapping[str, Any]) -> str:
    form = " -F photo=@old.jpg -o new.png" if "requestBody" in operation else ""
    return f"<pre>curl{form} http://127.0.0.1:8000{escape(path)}</pre>\n"


def _table(rows: Mapping[str, str]) -> str:
    if not rows:
        return ""
    cells = (f"<tr><td><code>{escape(name)}</code><td>{escape(text)}" for name, text in rows.items())
    return f"<table>{''.join(cells)}</table>\n"
