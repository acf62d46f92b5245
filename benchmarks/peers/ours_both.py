"""Both our stages: the shipped worker as it is, from the connectors' CDC records to the apply topics."""

from ours_decide import main

if __name__ == "__main__":
    main(only_decide=False)
