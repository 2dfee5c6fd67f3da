"""A Flink cluster's REST API: requests as values, with a blocking and an asynchronous client that send them."""
