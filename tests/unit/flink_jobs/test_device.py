"""Device categories of real user agents."""

import pytest
from ua_parser import parse

from flink_jobs.shared.device import category_of
from sluice.local.traffic.user_agents import categories

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
    (None, "Unknown"),
    ("", "Unknown"),
]


@pytest.mark.parametrize(("user_agent", "category"), CASES)
def test_the_known_traps(user_agent, category):
    assert category_of(user_agent) == category


def test_the_labels_of_a_collection_of_hundreds():
    wrong = {agent: (category_of(agent), label) for agent, label in categories().items() if category_of(agent) != label}
    assert len(categories()) > 800
    assert wrong == {}


def test_a_parser_library_calls_none_of_the_people_a_spider():
    """uap-core's own idea of a spider, against ours, over a sample."""
    sample = [agent for agent in categories() if agent][::40]
    spiders = {agent for agent in sample if (device := parse(agent).device) and device.family == "Spider"}
    assert {agent for agent in sample if category_of(agent) == "Bot"} >= spiders
