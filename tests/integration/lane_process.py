"""A lane in a process of its own, to be killed: settles its input in small batches until there is no more."""

from integration.streams import stream_of_environment


def main() -> None:
    """Works off partition 0, `size` records at a time."""
    stream, words = stream_of_environment()
    lane = stream.lane()
    lane.start()
    print("started", flush=True)  # noqa: T201  # the test listens
    while (batch := stream.batch(lane.next, limit=words["size"])).records:
        lane.process(batch)
    print("done", flush=True)  # noqa: T201  # the test listens


main()
