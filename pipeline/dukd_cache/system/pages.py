"""HTML pages that need nothing else (no script, no other file, no network): what all of them have in common."""

import base64

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def environment(package: str) -> Environment:
    """Templates of `package`, and those that all pages share: `page.html.jinja`, its style, `pieces.jinja`."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("dukd_cache.system")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(content: bytes, kind: str) -> str:
    """`content` of a MIME type as an address that needs no file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
