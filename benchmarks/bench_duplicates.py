"""Precision and recall of the match keys on a labelled set of generated people, beside those of the plain keys.

Usage: bench_duplicates.py [--people N] [--seed S]

A record is told of if it shares a key with one before it; told rightly if both are one person. The plain keys are the
first that there were: name with birth date, e-mail, phone, each alike but for capitals.
"""

import argparse

from found import Found, first_keys_of, judged, keys_of
from people import KINDS, OTHERS, registrations

PEOPLE = 30_000


def table(title: str, names: list[str], plain: list[str], keyed: list[str]) -> str:
    """Three columns."""
    rows = [(title, "plain keys", "match keys"), *zip(names, plain, keyed, strict=True)]
    return "\n".join(f"{name:<38}{first:>12}{second:>12}" for name, first, second in rows)


def shares(found: Found, names: list[str]) -> list[str]:
    """Recall by kind."""
    return [f"{found.recall(name):.3f}" for name in names]


def main() -> None:
    """Generate, judge, print."""
    parser = argparse.ArgumentParser(description="Precision and recall of the match keys on a labelled set.")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"how many people (default: {PEOPLE})")
    parser.add_argument("--seed", type=int, default=7, help="of the generator")
    options = parser.parse_args()
    people = registrations(options.people, options.seed)
    plain, keyed = judged(people, first_keys_of), judged(people, keys_of)
    again = keyed.there[""]
    print(f"{len(people)} records of generated people, {again} of them somebody's second; seed {options.seed}\n")
    whole = [[f"{one.precision():.3f}", f"{one.recall():.3f}"] for one in (plain, keyed)]
    print(table("in all", ["precision", "recall"], *whole))
    for title, kinds in (("found, of those registered again", KINDS), ("told of, of other people", OTHERS)):
        print("\n" + table(title, list(kinds), shares(plain, list(kinds)), shares(keyed, list(kinds))))
    for title, one in (("plain key", plain), ("match key", keyed)):
        print(f"\n{title:<38}{'told of':>12}{'precision':>12}")
        for name in sorted(one.told.keys() - {""}):
            print(f"{name:<38}{one.told[name]:>12}{one.precision(name):>12.3f}")


if __name__ == "__main__":
    main()
