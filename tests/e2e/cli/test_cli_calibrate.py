"""hopskip calibrate: a profile that run then uses, or one line that says why there is none."""
import json
import re

import pytest


@pytest.fixture(scope="module")
def text_file(tmp_path_factory, long_text):
    path = tmp_path_factory.mktemp("calibrate") / "text.txt"
    path.write_text(long_text)
    return path


def calibrate(text_file, output, *args):
    return ["calibrate", "smollm2-135m", "--text", text_file, "-o", output, "--length", 512, "--decode-tokens", 4, *args]


def test_profile_gives_what_was_asked_for(hopskip, model, tmp_path, text_file, long_text):
    path = tmp_path / "profile.json"
    path.write_text("the profile of before")
    done = hopskip(*calibrate(text_file, path, "--target-sparsity", "prefill=0.4", "--prefill-factors", "3,10,30"))
    assert done.code == 0, done.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["profile.json"]
    profile = json.loads(path.read_text())
    factors = profile["sparse_attention_config"]["config_groups"]["group_0"]["threshold_scale_factor"]
    assert factors["prefill"]["a"] > 0 and factors["prefill"]["b"] > 0 and "decode" not in factors
    assert list(profile["hopskip"]["tile_plan"]) == ["prefill"]
    assert profile["hopskip"]["min_context"] == 512
    assert len(re.findall(r"^prefill +(?:3|10|30) ", done.out, re.MULTILINE)) == 3 and "factor = " in done.out

    stats, done = hopskip.stats(tmp_path, "--raw", "-f", "-", "-n", 1, "--profile", path, "--target-sparsity",
                                "prefill=0.4", stdin=long_text)
    assert stats["prefill"]["sparsity"] == pytest.approx(0.4, abs=0.1)
    hopskip.fails(2, "no fit for decode", "run", "smollm2-135m", "-p", "hi", "--profile", path, "--target-sparsity", 0.4)


def test_refusals_leave_no_profile(hopskip, model, tmp_path, text_file):
    path = tmp_path / "profile.json"
    for message, *args in [
            ("windows of 512: 9 cannot be had", "--windows", 9),
            ("there is nothing to calibrate", "--target-sparsity", 0),
            ("windows is 0", "--windows", 0),
            ("prefill factor 5000 is outside 0", "--prefill-factors", 5000),
            ("prefill factor nan is outside 0…512; it must be a number above 0", "--prefill-factors", "nan"),
            ("give larger factors", "--target-sparsity", "decode=0.5", "--decode-factors", "1e-9")]:
        hopskip.fails(2, message, *calibrate(text_file, path, *args))
    hopskip.fails(1, "cannot write", *calibrate(text_file, tmp_path / "missing" / "profile.json"))
    hopskip.fails(2, "--output", "calibrate", "smollm2-135m", "--text", text_file)
    assert list(tmp_path.iterdir()) == []
