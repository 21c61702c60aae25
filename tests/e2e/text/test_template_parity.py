"""Rendered chat templates, compared byte for byte with Jinja2 set up as transformers sets it up."""
import datetime
import json
import pathlib
import subprocess

import jinja2
import pytest
from transformers.utils import chat_template_utils

TEMPLATES = sorted((pathlib.Path(__file__).resolve().parents[2] / "golden/templates").glob("*.jinja"))
NOW = 1_760_000_000

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Wetter für \"Zürich\" & <b>Umgebung</b> ☀️",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "enum": ["Zürich", "京都"]}, "days": {"type": "integer", "minimum": 1, "default": 3}},
        "required": ["city"]}, "strict": True, "scale": 1.5e-7, "none": None, "empty": [], "nothing": {}}}
CALL = {"id": "abc123def", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "京都", "days": 2, "f": [1.0, -0.5, 1e20, True, None]}}}
TEXT_CALL = {"id": "x", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Zürich\"}"}}


def user(text): return {"role": "user", "content": text}
def assistant(text, **more): return {"role": "assistant", "content": text, **more}
def tool(text): return {"role": "tool", "content": text, "tool_call_id": "abc123def", "name": "get_weather"}


SYSTEM = {"role": "system", "content": "  You are terse.\nVery.  "}
CONVERSATIONS = {
    "one": [user("Hello")],
    "system": [SYSTEM, user("Hello")],
    "turns": [user(" Hi \n"), assistant("Hey! "), user("And\tyou?\n\n"), assistant("fine"), user("Ok")],
    "system_turns": [SYSTEM, user("a"), assistant("b"), user("c"), assistant("d")],
    "unicode": [user("Ünïcödé 👩‍👩‍👧 \u2028 \u00a0 'quotes' \"double\" <html> {{ braces }} {% tag %} \\n \x1b")],
    "empty": [user("")],
    "thinking_in_text": [user("q"), assistant("<think>\nhm\n</think>\n\nyes"), user("r"), assistant("<think>\nagain\n</think>\n\nno")],
    "thinking_apart": [user("q"), assistant("yes", reasoning_content="\nbecause\n"), user("r"), assistant("no", reasoning_content="why")],
    "call": [user("weather?"), assistant("", tool_calls=[CALL]), tool("{\"t\": 20}"), user("thanks")],
    "call_with_text": [SYSTEM, user("weather?"), assistant("Let me look.", tool_calls=[CALL]), tool("20°"), assistant("20°.")],
    "two_calls": [user("weather?"), assistant("x", tool_calls=[CALL, TEXT_CALL]), tool("1"), tool("2"), assistant("done", reasoning_content="r")],
    "no_content_call": [user("q"), assistant(None, tool_calls=[TEXT_CALL]), tool("42")],
    "tool_gives_object": [user("q"), assistant("", tool_calls=[CALL]), tool({"t": 20.0, "ok": True, "list": [1, "é", None]})],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "look: "}, {"type": "image"}, {"type": "text", "text": "nice"}]}],
    "tool_response_as_user": [user("<tool_response>\n1\n</tool_response>"), assistant("a"), user("<tool_response>x</tool_response>")],
    "wrong_order": [assistant("first"), user("b"), user("c")],
    "late_system": [user("a"), SYSTEM, user("b")],
    "none": [],
}
OPTIONS = {
    "plain": {},
    "prompt": {"add_generation_prompt": True},
    "tools": {"tools": [WEATHER, WEATHER], "add_generation_prompt": True},
    "no_thinking": {"enable_thinking": False, "add_generation_prompt": True},
    "thinking": {"enable_thinking": True, "add_generation_prompt": True, "tools": [WEATHER]},
    "llama_options": {"tools": [WEATHER], "tools_in_user_message": False, "date_string": "1 Jan 2030", "add_generation_prompt": True},
    "builtin_tools": {"builtin_tools": ["brave_search", "get_weather", "code_interpreter"], "tools": [WEATHER]},
    "documents": {"documents": [{"title": "T", "text": "ä"}], "add_generation_prompt": True, "xml_tools": [], "reasoning_effort": "high"},
}
BASE = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": False}


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW)


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch):
    monkeypatch.setattr(chat_template_utils, "datetime", FixedClock)


def reference(source, context):
    """The rendering, or None where Jinja2 refuses."""
    try:
        return chat_template_utils._compile_jinja_template(source).render(**context)
    except (jinja2.TemplateError, TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError):
        return None


def rendered(probe, requests):
    lines = "".join(json.dumps({"template": s, "context": c, "now": NOW}) + "\n" for s, c in requests)
    run = subprocess.run([probe, "render"], input=lines, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.split("\n") if line]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_model_template(probe, path):
    source = path.read_text()
    cases = [(f"{c}+{o}", {**BASE, **options, "messages": messages}) for c, messages in CONVERSATIONS.items() for o, options in OPTIONS.items()]
    replies = rendered(probe, [(source, context) for _, context in cases])
    texts = 0
    for (name, context), reply in zip(cases, replies, strict=True):
        expected = reference(source, context)
        texts += expected is not None
        if expected is None:
            assert "error" in reply, f"{name}: rendered {reply.get('text')!r} where Jinja2 refuses"
        else:
            assert reply.get("text") == expected, f"{name}: {reply.get('error')}"
    assert texts > len(cases) // 4  # the comparison is about texts, not about errors


SNIPPETS = pathlib.Path(__file__).with_name("template_snippets.txt").read_text().split("\n---\n")


def test_snippets(probe):
    context = {**BASE, "messages": CONVERSATIONS["turns"], "tools": [WEATHER], "n": 3, "f": 2.5, "s": " aBc dEf ", "u": "Straße ﬁ ǆ ὈΔΥΣΣΕΎΣ",
               "d": {"b": 1, "a": [1, {"x": None}], "items": 5}, "l": [3, 1, 2], "e": [], "t": True, "z": None, "deep": [[1, 2], [3, 4]]}
    replies = rendered(probe, [(s, context) for s in SNIPPETS])
    for source, reply in zip(SNIPPETS, replies, strict=True):
        expected = reference(source, context)
        if expected is None:
            assert "error" in reply, f"{source!r}: rendered {reply.get('text')!r} where Jinja2 refuses"
        else:
            assert reply.get("text") == expected, f"{source!r}: {reply}"
