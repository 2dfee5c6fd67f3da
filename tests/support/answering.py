"""A plain function that takes a request and gives a response, as what a Flink client talks to."""

import httpx

from sluice.flink.exchange import NoAnswerError


def answered_by(cluster):
    def exchange(method, target, body):
        try:
            response = cluster(httpx.Request(method, f"http://flink{target}", content=body))
        except httpx.TransportError as error:
            raise NoAnswerError(str(error)) from error
        return response.status_code, response.content

    return exchange
