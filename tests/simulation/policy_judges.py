"""What was agreed, and is no matter of books: how often something is tried, what was granted.

Judged from the file alone.
"""

from collections import Counter
from typing import Final

from tests.simulation import file
from tests.simulation.evidence import Evidence
from tests.simulation.file import Story

MOST_ATTEMPTS: Final = 100
"""What COMPLETE_FORWARD may try where a leg bears no policy of its own."""
UNDO_ATTEMPTS: Final = 3
"""What a leg without a policy of its own may be undone with, in one round."""


def l3_attempts_are_counted(evidence: Evidence, story: Story) -> None:
    """L3: a leg is tried as often as its policy says, and not more; what never arrived is no try.

    An undo begins a new round of tries when an operator has it tried again, and when new effect of
    its leg comes to light.
    """
    policy = story.lines[0].data["policy"]
    tried: Counter[tuple[int, str]] = Counter()
    rounds: Counter[int] = Counter()
    for line in story.lines:
        step, purpose = line.data.get("step", -1), line.data.get("purpose", "")
        if line.kind == "intended":
            tried[step, purpose] += 1
        elif line.kind in ("proven_absent", "withheld"):
            tried[step, purpose] -= 1
        elif line.kind == "retried":
            rounds.update(range(len(story.body["directives"])))
        elif line.kind in ("reported", "late_truth") and purpose == "forward":
            rounds[step] += bool(line.data["fills"] and tried[step, "compensation"])
    for (step, purpose), count in tried.items():
        retry = story.body["directives"][step]["retry"] or {}
        if purpose == "forward":
            again = policy["on_failure"] == "complete_forward"
            most = retry.get("attempts", MOST_ATTEMPTS if again else 1)
        else:
            most = retry.get("compensation_attempts", UNDO_ATTEMPTS) * (1 + rounds[step])
        if count > most:
            evidence.blame(
                "L3",
                f"step {step} of {story.batch_id} was tried {count} times {purpose}, not {most}",
            )


def s3_a_tombstone_stands(evidence: Evidence, story: Story) -> None:
    """S3: a key that the file calls buried is buried at the venue."""
    letters = {"forward": "F", "compensation": "C"}
    for line in story.lines:
        if line.kind == "not_found" and line.data["tombstone"]:
            letter = letters[line.data["purpose"]]
            stem = story.batch_id.removeprefix("BAT_")
            key = f"{stem}-{line.data['step']}{letter}{line.data['number']}"
            if key not in evidence.exchange.buried:
                evidence.blame(
                    "S3", f"{key} is called buried, and the venue knows of no such thing"
                )


def s14_granted_is_durable(evidence: Evidence, batch_id: str) -> None:
    """S14: a wish to cancel that was granted stands in the file at that moment."""
    if not evidence.disk.look(file.records_of, batch_id, "cancel_requested"):
        evidence.blame("S14", f"the cancel of {batch_id} was granted, and is not in the file")
