"""Compares two transcripts: compare.py RABBITMQ TRIAGEMQ DEVIATIONS [ONLY].

Prints TAP: a case fails with its operations whose outcomes differ, unless DEVIATIONS explains them; and so does an explanation that no line needs any more (not with ONLY, since not all cases ran then). DEVIATIONS holds paragraphs:
a reason in one or more lines that begin with `# `, then the operations that it explains, one a line, as a regular expression that matches the whole of
`case NN | operation`, or `case NN | operation => outcome` to allow just that outcome of ours. A line `ignore REGEX` takes what matches out of all outcomes
before they are compared. The exit status is 1 when anything differs.
"""
import re
import sys


def transcript(path):
    with open(path, encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(" -> ", 1) for line in f if " -> " in line)


def deviations(path):
    """The expressions that explain, and those to ignore."""
    rules, ignored = [], []
    with open(path, encoding="utf-8") as f:
        for line in (x.rstrip("\n") for x in f):
            if line.startswith("ignore "):
                ignored.append(re.compile(line.removeprefix("ignore ")))
            elif line and not line.startswith("#"):
                rules.append(re.compile(line))
    return rules, ignored


def without(outcome, ignored):
    for expression in ignored:
        outcome = expression.sub("", outcome)
    return outcome


def explained(rules, used, operation, outcome):
    for rule in rules:
        if rule.fullmatch(operation) or rule.fullmatch(f"{operation} => {outcome}"):
            used.add(rule)
            return True
    return False


def differences(theirs, ours, rules, ignored, used):
    """Case to its unexplained differences; a case without any has an empty list."""
    out = {}
    for operation in dict.fromkeys([*theirs, *ours]):
        found = out.setdefault(operation.split(" ", 1)[0], [])
        a, b = theirs.get(operation, "(not reached)"), ours.get(operation, "(not reached)")
        if without(a, ignored) != without(b, ignored) and not explained(rules, used, operation, b):
            found.append(f"{operation}\n  RabbitMQ: {a}\n  TriageMQ: {b}")
    return out


def main(theirs, ours, file, only=""):
    rules, ignored = deviations(file)
    used = set()
    cases = differences(transcript(theirs), transcript(ours), rules, ignored, used)
    for case, found in cases.items():
        print(f"{'not ok' if found else 'ok'} {case}")
        for difference in found:
            print(difference)
    idle = [rule.pattern for rule in rules if rule not in used and not only]
    print(f"{'not ok' if idle else 'ok'} every listed deviation is one")
    for pattern in idle:
        print(f"explains nothing: {pattern}")
    print(f"1..{len(cases) + 1}")
    return 1 if idle or any(cases.values()) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
