"""The metrics in Prometheus' text format."""

import re
from datetime import UTC, datetime

from sluice.fleet.exposition import metrics_file, render, write_metrics
from sluice.ledger.samples import Sample

AT = datetime(2026, 1, 1, tzinfo=UTC)
LINE = re.compile(r'[a-z_]+\{([a-z]+="(\\.|[^"\\])*",?)*\} -?[0-9.e+-]+')


def sample(job, **more):
    given = {"state": "RUNNING", "verdict": "healthy", "reasons": [], "readings": None, **more}
    return Sample(environment="test", job=job, at=AT, **given)


def test_each_verdict_has_a_metric_value():
    text = render([sample("a", verdict="degraded")])
    verdicts = [line for line in text.splitlines() if line.startswith("sluice_job_verdict{")]
    assert len(verdicts) == 5
    assert [line for line in verdicts if line.endswith(" 1.0")] == [
        'sluice_job_verdict{environment="test",job="a",verdict="degraded"} 1.0'
    ]


def test_unknown_figures_are_left_out_and_zeros_are_written():
    text = render([sample("a", consumer_lag=0), sample("b")])
    assert 'sluice_job_consumer_lag_records{environment="test",job="a"} 0.0\n' in text
    assert 'lag_records{environment="test",job="b"}' not in text
    assert "sluice_job_drift" not in text


def test_metric_values_have_the_units_of_their_names():
    text = render([sample("a", watermark_lag_ms=1_500, checkpoint_age_ms=20, drift=True, lag_per_s=-2.5)])
    for line in (
        'sluice_job_watermark_lag_seconds{environment="test",job="a"} 1.5',
        'sluice_job_checkpoint_age_seconds{environment="test",job="a"} 0.02',
        'sluice_job_drift{environment="test",job="a"} 1.0',
        'sluice_job_consumer_lag_per_second{environment="test",job="a"} -2.5',
        f'sluice_sweep_timestamp_seconds{{environment="test"}} {AT.timestamp() / 1e9}e+09',
    ):
        assert f"{line}\n" in text


def test_each_partition_has_its_lag():
    splits = {"t": {"0": [7, None, 1, 8, None, None], "1": [None, None, None, 8, None, None]}}
    text = render([sample("a", readings={"splits": splits})])
    lags = [line for line in text.splitlines() if line.startswith("sluice_partition")]
    assert lags == ['sluice_partition_lag_records{environment="test",job="a",partition="0",topic="t"} 7.0']


def test_lines_follow_the_format_and_are_grouped_by_metric():
    samples = [sample('odd "name"\\\n', consumer_lag=5, lag_per_s=1e-07, restarts=1), sample("b", consumer_lag=2**53)]
    lines = render(samples).splitlines()
    values = [line for line in lines if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in values)
    assert r'job="odd \"name\"\\\n"' in values[0]
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    # All lines of a metric follow its type.
    names = [line.split("{")[0] for line in values]
    assert [name for place, name in enumerate(names) if names[:place][-1:] != [name]] == types


def test_no_samples_give_no_metrics():
    assert render([]) == ""


def test_metrics_file_is_replaced_as_a_whole(tmp_path):
    file = write_metrics(tmp_path, "test", [sample("a")])
    assert file == metrics_file(tmp_path, "test")
    write_metrics(tmp_path, "test", [sample("b")])
    assert file.read_text() == render([sample("b")])
    assert [path.name for path in file.parent.iterdir()] == ["test.prom"]
