"""Real-world user agents with their categories, weighted by their frequency."""

from __future__ import annotations

from functools import cache
from itertools import accumulate

from fake_useragent.utils import load

_CHROME = (
    "AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0"
)
_NEXUS = "Linux; Android 6.0.1; Nexus 5X Build/MMB29P"
_GOOGLEBOT = "compatible; Googlebot/2.1; +http://www.google.com/bot.html"
_BOTS = (
    f"Mozilla/5.0 ({_GOOGLEBOT})",
    f"Mozilla/5.0 ({_NEXUS}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0 Mobile Safari/537.36 ({_GOOGLEBOT})",
    f"Mozilla/5.0 {_CHROME} Safari/537.36",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "curl/8.5.0",
    "python-requests/2.32.3",
)
_BOT_SHARE = 0.03
_UNKNOWN: tuple[str | None, ...] = (None, "", "-")
_UNKNOWN_SHARE = 0.01


@cache
def categories() -> dict[str | None, str]:
    """The category of each user agent, by the labels of the package that collects them."""
    # One entry calls an iPhone a desktop: its platform and its type contradict each other.
    found: dict[str | None, str] = {
        entry["useragent"]: entry["type"].capitalize()
        for entry in load()
        if not (entry["type"] == "desktop" and "Mobile" in entry["useragent"])
    }
    return {**found, **dict.fromkeys(_BOTS, "Bot"), **dict.fromkeys(_UNKNOWN, "Unknown")}


@cache
def weighted() -> tuple[tuple[str | None, ...], tuple[float, ...]]:
    """User agents and their cumulative weights, for `random.choices`."""
    seen = {entry["useragent"]: float(entry["percent"]) for entry in load() if entry["useragent"] in categories()}
    total = sum(seen.values())
    weights: dict[str | None, float] = {}
    weights.update(seen)
    weights |= dict.fromkeys(_BOTS, total * _BOT_SHARE / len(_BOTS))
    weights |= dict.fromkeys(_UNKNOWN, total * _UNKNOWN_SHARE / len(_UNKNOWN))
    return tuple(weights), tuple(accumulate(weights.values()))
