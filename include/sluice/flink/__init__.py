"""A Flink cluster over its REST API: calls as values, a blocking and an asynchronous way to send them."""
