"""Device categories of real user agents: known traps, labelled collections, and a parser library's own results."""

import json
import re
import time
import zipfile
from collections import Counter
from importlib.resources import files
from itertools import product

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from ua_parser import parse

from flink_jobs.shared.device import category_of, device_category
from sluice.local.traffic.user_agents import categories

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko)"
CASES = [
    ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", "Tablet"),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Bot"),
    (
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) Chrome/128.0 Mobile Safari/537.36 (compatible; GOOGLEBOT/2.1)",
        "Bot",
    ),
    ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "Bot"),
    (
        "Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120 Safari/537.36",
        "Tablet",
    ),
    ("Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36", "Mobile"),
    ("Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0; Tablet PC 2.0)", "Desktop"),
    ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36", "Desktop"),
    ("Mozilla/5.0 (Linux; Android 11; BRAVIA 4K) AppleWebKit/537.36 Chrome/120 Safari/537.36", "Unknown"),
    # Telephones that don't say `Mobile`, and one whose app says `Android` once more behind it.
    ("Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16", "Mobile"),
    ("Dalvik/2.1.0 (Linux; U; Android 9; SM-G960F Build/PPR1)", "Mobile"),
    (f"Mozilla/5.0 (Linux; Android 7.1; Pixel) {CHROME} Mobile Safari/537.36 [Pinterest/Android]", "Mobile"),
    ("NokiaX2-05/2.0 (08.30) Profile/MIDP-2.1 Configuration/CLDC-1.1", "Mobile"),
    # Tablets that do.
    ("Dalvik/2.1.0 (Linux; U; Android 9; SM-T720 Build/PPR1)", "Tablet"),
    (f"Mozilla/5.0 (Linux; Android 7.1.1; SAMSUNG SM-T377W) {CHROME} Chrome/59.0 Mobile Safari/537.36", "Tablet"),
    ("Mozilla/5.0 (X11; U; Linux x86_64; de-de) Chrome/30.0 Safari/537.36 Puffin/4.0.4.931AT", "Tablet"),
    ("Mozilla/5.0 (Windows; U; Windows NT 5.2) Gecko/20100228 MozillaDeveloperPreview/3.7a2", "Desktop"),
    (None, "Unknown"),
    ("", "Unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("user_agent", "category"), CASES)
def test_the_known_traps(user_agent, category):
    assert category_of(user_agent) == category


def test_the_labels_of_what_people_use_today():
    wrong = {agent: (category_of(agent), label) for agent, label in categories().items() if category_of(agent) != label}
    assert len(categories()) > 800
    assert wrong == {}


LABELS = {"mobile -> phone": "Mobile", "mobile -> tablet": "Tablet", "computer": "Desktop"}
# Telephones that the collection takes for tablets: all of Vivo's, Samsung's early Notes.
MISLABELLED = ("vivo", "gt-n70", "gt-n71")


def test_the_labels_of_ten_years_of_devices():
    archive = zipfile.ZipFile(str(files("random_user_agent") / "data" / "user_agents.zip"))
    with archive, archive.open("user_agents.jl") as lines:
        sample = [json.loads(line) for number, line in enumerate(lines) if number % 10 == 0]
    total, right, as_bot = Counter(), Counter(), Counter()
    for entry in sample:
        agent, label = entry["user_agent"], LABELS.get(entry["hardware_type"])
        # The rest are tools, libraries and inventions.
        if label is None or entry["software_type"] != "browser -> web-browser":
            continue
        if label == "Tablet" and any(model in agent.lower() for model in MISLABELLED):
            continue
        category = category_of(agent)
        total[label] += 1
        right[label] += category == label
        as_bot[label] += category == "Bot"
    assert total["Mobile"] > 5_000
    assert total["Tablet"] > 1_200
    assert total["Desktop"] > 10_000
    share = {label: right[label] / total[label] for label in total}
    assert share["Mobile"] > 0.97, share
    assert share["Tablet"] > 0.97, share
    assert share["Desktop"] > 0.96, share
    assert sum(as_bot.values()) < 0.005 * total.total(), as_bot


# Spiders by the library's own list of names; no pattern of general use tells them.
DISGUISED = {
    f"Mozilla/5.0 (X11; Datanyze; Linux x86_64) {CHROME} Chrome/65.0.3325.181 Safari/537.36",
    "Mozilla/5.0 (compatible; Genieo/1.0 http://www.genieo.com/webfilter.html)",
    "Mozilla/5.0 (compatible; Y!J SearchMonkey/1.0 "
    "(Y!J-AGENT; http://help.yahoo.co.jp/help/jp/search/indexing/indexing-15.html))",
    "NING/1.0",
    "Riddler (http://riddler.io/about)",
    "Scrubby/2.2 (http://www.scrubtheweb.com/)",
    "WPScan v3.8.22 (https://wpscan.com/wordpress-security-scanner)",
    "WhatWeb/0.5.5",
    "Xenu Link Sleuth/1.3.8",
    "YahooCacheSystem; YahooWebServiceClient",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "daumoa,damoa,daum,daumos,duamoa,duam,duamo",
    "masscan/1.0 (https://github.com/robertdavidgraham/masscan)",
}


def test_what_a_parser_library_calls_a_spider_is_a_bot():
    """Over the agents of 1,500 crawlers, as their operators give them."""
    agents = sorted({agent for crawler in CRAWLER_USER_AGENTS_DATA for agent in crawler["instances"]})
    spiders = [agent for agent in agents if (device := parse(agent).device) and device.family == "Spider"]
    assert len(spiders) > 1_000
    assert {agent for agent in spiders if category_of(agent) != "Bot"} == DISGUISED
    # Those that it doesn't know: fetchers and libraries, with or without a browser's name.
    assert sum(category_of(agent) == "Bot" for agent in agents) > 0.78 * len(agents)


def test_a_parser_library_calls_none_of_the_people_a_spider():
    sample = [agent for agent in categories() if agent][::4]
    spiders = {agent for agent in sample if (device := parse(agent).device) and device.family == "Spider"}
    assert len(sample) > 200
    assert {agent for agent in sample if category_of(agent) == "Bot"} >= spiders


def test_telephones_and_tablets_are_what_a_parser_library_takes_them_for():
    """By the device's family, over the agents of today."""
    found = Counter()
    for agent, label in categories().items():
        device = parse(agent or "").device
        if label in ("Mobile", "Tablet", "Desktop") and device and device.family in FAMILIES:
            found[FAMILIES[device.family]] += 1
            assert category_of(agent) == FAMILIES[device.family], agent
    assert found["Mobile"] > 200
    assert found["Tablet"] >= 10
    assert found["Desktop"] > 50


FAMILIES = {"iPhone": "Mobile", "iPad": "Tablet", "Mac": "Desktop", "Generic Smartphone": "Mobile"}


WORDS = (
    *("silk/", "puffin/", "puffin/1.", "android ", "android tv", "dalvik", "mobi", "opera mini ", "cubot", "bot"),
    *("+ ", "+h", "aft", " aft1", "smart-", "sm-", "gt-", "nexus ", "tablet pc ", "series ", "developerpreview"),
    *("1", ".", " ", "a", "\n"),
)
ENDS = ("", "mobile", "android", "opera mini", "!")
PATTERNS = re.findall(r"REGEXP\(.*?, '((?:[^']|'')*)'\)", device_category("agent"))
"""As Flink is given them."""


def seconds(agent: str) -> float:
    """CPU time, the least of three."""

    def once() -> float:
        since = time.process_time()
        for pattern in PATTERNS:
            re.search(pattern, agent)
        return time.process_time() - since

    return min(once() for _ in range(3))


@pytest.mark.parametrize("start", ["", "mozilla/5.0 ", "dalvik"])
def test_patterns_take_linear_time_on_hostile_user_agents(start):
    """Over the patterns alone, without the bound: eight times the length, and not 64 times the time."""
    assert len(PATTERNS) == 5
    steep = {}
    for word, end in product(WORDS, ENDS):
        short, long = (start + word * (length // len(word)) + end for length in (1_000, 8_000))
        if (ratio := seconds(long) / seconds(short)) > 24:
            steep[word, end] = ratio
    assert steep == {}


def test_only_the_start_of_a_user_agent_is_examined():
    assert category_of(f"{'x' * 1_018}iphone") == "Mobile"
    assert category_of(f"{'x' * 1_019}iphone") == "Unknown"
    sql = device_category("device.user_agent")
    assert sql.count("device.user_agent") == sql.count("REGEXP(LOWER(SUBSTRING(device.user_agent, 1, 1024)), ") == 5
