"""Adapters that do one thing wrong fail the kit, and its story says what and why."""

from collections.abc import Callable
from pathlib import Path

import pytest

from examples.own_broker import CornerBroker
from saga.testing import (
    ONE_LEG,
    PART_FILLED,
    ROLLED_BACK,
    TWO_LEGS,
    WITHDRAWN,
    KeyScope,
    ParticipantContract,
    Plot,
)
from saga.testing.promises import PROMISES, Promise
from tests.testing_kit import broken_adapters as broken
from tests.testing_kit.broken_adapters import contract_of

BY_NAME: dict[str, Promise] = {promise.name: promise for promise in PROMISES}


def story_of(test: Callable[[], None]) -> str:
    """The story that a test of the contract fails with, as one line."""
    with pytest.raises(pytest.fail.Exception) as failed:
        test()
    return " ".join(str(failed.value).split())


def promise_broken(contract: ParticipantContract, name: str, folder: Path) -> str:
    return story_of(lambda: contract.test_it_keeps_its_promise(BY_NAME[name], folder))


BREAKS: list[tuple[type[CornerBroker], str, str]] = [
    (broken.RetriesUnderANewId, "a_lost_answer_is_unknown", "sent again under a new id"),
    (broken.TakesATimeoutForARefusal, "a_lost_answer_is_unknown", "told it as a refusal"),
    (broken.RemembersInMemory, "an_order_is_found_after_a_restart", "is not found 0.0 s later"),
    (broken.RemembersInMemory, "a_lost_answer_is_unknown", "look_up says that it is not"),
    (broken.FindsOpenOrdersOnly, "an_order_is_found_after_a_restart", "list of open orders"),
    (broken.InventsFillIds, "execution_ids_are_unique_and_stable", "another connection asks"),
    (broken.CountsFillsFromOne, "execution_ids_are_unique_and_stable", "fill_id '1' stands in"),
    (broken.CallsAnOpenOrderFinal, "a_resting_order_ends_by_its_withdrawal", "final=True"),
    (broken.NeverFinal, "a_fill_is_told_as_it_is", "is not final after"),
    (broken.AdoptsAnything, "another_order_is_never_adopted", "as if it were the same order"),
    (broken.CutsKeys, "the_longest_key_arrives_whole", "cuts or rewrites keys"),
    (broken.PretendsTombstones, "a_tombstone_holds", "accepted it all the same"),
    (broken.SeesLaterThanItSays, "an_order_is_found_after_a_restart", "visibility_seconds"),
    (broken.TakesSilenceForNo, "a_look_up_without_an_answer_raises", "says that it is not there"),
    (broken.ReadsTheFirstPage, "an_order_is_found_behind_many", "25 orders came after it"),
    (broken.ForgetsParts, "a_part_that_filled_is_told", "final report's fills add up to 0"),
    (broken.TellsASum, "a_part_that_filled_is_told", "no sum that grows"),
    (broken.PricesInCents, "prices_and_fees_are_told_as_they_are", "value of the fills is 10000"),
    (broken.TakesFeesForRebates, "prices_and_fees_are_told_as_they_are", "fees of the fills is -"),
    (broken.SendsAnotherLimit, "a_limit_stays_what_it_is", "in the books it is 0.1"),
    (broken.WholeNumbers, "an_odd_amount_arrives_whole_or_not_at_all", "the order is for 1"),
    (broken.Floats, "an_odd_amount_arrives_whole_or_not_at_all", "1234567.123456789012 were"),
    (broken.CannotBeCancelled, "every_call_can_be_cancelled", "goes on 5.0 s after"),
    (broken.PretendsToCancel, "a_resting_order_ends_by_its_withdrawal", "1 order is open"),
    (broken.RefusesToWithdrawTwice, "withdrawing_is_harmless", "raised LookupError"),
    (broken.PlacesWithdrawnOrders, "withdrawing_is_harmless", "left an order behind"),
    (broken.AsksAtTheDoor, "check_asks_nobody", "check went out to the network"),
    (broken.LetsAnythingIn, "it_refuses_strangers", "let a directive of a foreign kind pass"),
    (broken.KnowsNoSales, "it_carries_out_the_inverse_too", "kind 'sell'"),
    (broken.MakesUpAnswers, "a_key_that_was_never_sent_is_not_found", "returned a report"),
    (broken.RefusesWithoutAWord, "a_refusal_is_final", "reason None"),
    (broken.MixesAnswersUp, "orders_sent_at_once_are_told_apart", "beside three others"),
    (broken.Nameless, "it_says_who_it_is", "its name is ' '"),
    (broken.SellsOneLess, "what_filled_can_be_undone", "was undone by sell 10 KO, and 1 is left"),
    (broken.ReopensWhatItWithdraws, "a_final_report_stays_what_it_is", "is now final=False"),
]
"""An adapter, the promise that it breaks, and words of the story that is told of it."""


@pytest.mark.parametrize(("adapter", "promise", "said"), BREAKS)
def test_a_promise_that_is_declared_and_not_kept_is_found_out(
    adapter: type[CornerBroker], promise: str, said: str, tmp_path: Path
) -> None:
    told = promise_broken(contract_of(adapter), promise, tmp_path)

    assert told.startswith(f"{adapter.name!r} breaks a promise: {BY_NAME[promise].sentence}")
    assert said in told
    assert "What the venue's own books say:" in told
    assert "What adapters usually do wrong here:" in told


def test_every_promise_is_broken_by_some_adapter_here() -> None:
    broken_here = {promise for _, promise, _ in BREAKS} | {"a_key_is_taken_once"}
    assert broken_here == set(BY_NAME)


def test_a_scope_of_keys_that_is_declared_and_not_kept_is_found_out(tmp_path: Path) -> None:
    class Forgetful(broken.CornerWith):
        def __init__(self) -> None:
            super().__init__(CornerBroker, broken.ForgetfulCorner())
            self.key_scope = KeyScope.FOREVER

    contract = contract_of(CornerBroker)
    contract.harness = lambda folder, clock: Forgetful()  # type: ignore[method-assign]

    told = promise_broken(contract, "a_key_is_taken_once", tmp_path)

    assert "key_scope is forever, and the venue accepted" in told


@pytest.mark.requirement("S2", "S3")
def test_a_naive_adapter_that_retries_under_a_new_id_leaves_an_order_that_no_saga_owns(
    tmp_path: Path,
) -> None:
    contract = contract_of(broken.RetriesUnderANewId)

    told = story_of(lambda: contract.test_every_call_and_every_answer_disturbed(ONE_LEG, tmp_path))

    assert "every order at the venue belongs to a saga, by the key that the engine gave it" in told
    assert "with the key retry-" in told
    assert "on the first send of step 0, forward 1, at its wait 2, the adapter itself" in told
    assert "filled 10 <--" in told
    assert "retries under a new one. Hand `attempt.key` to the venue unchanged" in told


@pytest.mark.requirement("S3")
def test_an_adapter_that_retries_under_the_same_key_buys_twice_where_the_venue_lets_it(
    tmp_path: Path,
) -> None:
    contract = contract_of(broken.RetriesUnderTheSameKey, forgetful=True)

    told = story_of(lambda: contract.test_every_call_and_every_answer_disturbed(ONE_LEG, tmp_path))

    assert "an order reaches the venue once, whatever becomes of the answers" in told
    assert "the venue accepted 2 orders with the one key" in told


@pytest.mark.requirement("S3")
def test_an_adapter_that_takes_an_outage_for_not_found_buys_twice_where_the_venue_lets_it(
    tmp_path: Path,
) -> None:
    contract = contract_of(broken.TakesSilenceForNo, forgetful=True)

    told = story_of(lambda: contract.test_every_call_and_every_answer_disturbed(ONE_LEG, tmp_path))

    assert "the adapter gets no answer to its next look-ups either" in told
    assert "the venue accepted 2 orders with the one key" in told


@pytest.mark.requirement("S6")
def test_an_adapter_that_forgets_what_filled_of_a_cancelled_order_makes_a_batch_lie(
    tmp_path: Path,
) -> None:
    contract = contract_of(broken.ForgetsParts)

    told = story_of(lambda: contract.test_killed_at_every_moment(PART_FILLED, tmp_path))

    assert "the saga is ROLLED_BACK, which says that step 0" in told
    assert "holds 0; in the venue's books it holds 4" in told


@pytest.mark.requirement("S6")
def test_an_adapter_that_calls_a_timeout_a_refusal_makes_a_batch_lie_about_what_it_holds(
    tmp_path: Path,
) -> None:
    contract = contract_of(broken.TakesATimeoutForARefusal)

    told = story_of(lambda: contract.test_every_call_and_every_answer_disturbed(ONE_LEG, tmp_path))

    assert "the saga is ROLLED_BACK, which says that step 0 (buy 10 KO) holds 0" in told
    assert "in the venue's books it holds 10" in told
    assert "Only a reply that proves the refusal may be told as one" in told


def test_an_adapter_that_only_pretends_to_cancel_leaves_an_order_open(tmp_path: Path) -> None:
    contract = contract_of(broken.PretendsToCancel)

    told = story_of(lambda: contract.test_killed_at_every_moment(WITHDRAWN, tmp_path))

    assert "a saga that is over leaves nothing open at the venue" in told
    assert "still has 10 KO open" in told


def test_an_adapter_that_forgets_closed_orders_is_told_where_the_process_died(
    tmp_path: Path,
) -> None:
    contract = contract_of(broken.FindsOpenOrdersOnly, forgetful=True)

    told = story_of(lambda: contract.test_killed_at_every_moment(TWO_LEGS, tmp_path))

    assert "THE PROCESS DIES during the send of step 0, forward 1, at its wait 2" in told
    assert "a new process takes the store up" in told
    assert "the venue accepted 2 orders with the one key" in told


def test_a_saga_that_hangs_on_an_adapter_is_a_story_and_not_a_hanging_test(tmp_path: Path) -> None:
    contract = contract_of(broken.NeverFinal)

    told = story_of(lambda: contract.test_killed_at_every_moment(ONE_LEG, tmp_path))

    assert "a saga comes to rest once the venue answers" in told
    assert "it did not come to rest within 30.0 s" in told


def test_an_adapter_that_cannot_say_what_became_of_an_order_fails_although_the_engine_is_truthful(
    tmp_path: Path,
) -> None:
    contract = contract_of(broken.SuspectsEverything)

    told = story_of(lambda: contract.test_killed_at_every_moment(ONE_LEG, tmp_path))

    assert "after one mishap the venue can be asked what became of an order" in told
    assert "the saga ends as STALE where COMPLETED was to come" in told


@pytest.mark.requirement("S6")
@pytest.mark.parametrize("plot", [ONE_LEG, ROLLED_BACK], ids=["one leg", "rolled back"])
def test_a_venue_that_cannot_be_asked_passes_with_an_interval_that_holds_the_truth(
    plot: Plot, tmp_path: Path
) -> None:
    contract_of(broken.CannotBeAsked).test_every_call_and_every_answer_disturbed(plot, tmp_path)


@pytest.mark.requirement("S6")
def test_an_interval_that_does_not_hold_the_truth_is_found_out(tmp_path: Path) -> None:
    contract = contract_of(broken.CannotBeAsked, filled_twice=True)

    told = story_of(
        lambda: contract.test_killed_at_every_moment_after_answers_were_lost(ONE_LEG, tmp_path)
    )

    assert "the saga is STALE and says that between 0 and 10 KO may be left" in told
    assert "in the venue's books 20 is left, 10 outside of that" in told
