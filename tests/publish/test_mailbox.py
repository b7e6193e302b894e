from __future__ import annotations

from edged.publish.counters import MessageTally
from edged.publish.mailbox import Mailbox, Outgoing, RetainedState


def mailbox(capacity: int = 3) -> tuple[Mailbox, MessageTally]:
    tally = MessageTally()
    box = Mailbox(capacity=capacity, tally=tally)
    box.connected("first")
    return box, tally


def message(qos: int = 0) -> Outgoing:
    return Outgoing("topic", qos, lambda _most: b"")


def drain(box: Mailbox) -> list[Outgoing]:
    taken: list[Outgoing] = []
    while (each := box.next_message()) is not None:
        taken.append(each)
    return taken


def dropped(tally: MessageTally) -> dict[str, int]:
    return dict(tally.snapshot(waiting=0).dropped)


def test_mailbox_full_queue_drops_the_oldest() -> None:
    box, tally = mailbox()
    messages = [message() for _ in range(5)]
    assert all(box.put(each) for each in messages)
    assert drain(box) == messages[2:]
    assert dropped(tally) == {"queue": 2}


def test_mailbox_without_broker_keeps_only_what_is_to_be_confirmed() -> None:
    box, tally = mailbox()
    fleeting, lasting = message(0), message(1)
    assert box.put(fleeting)
    assert box.put(lasting)
    box.disconnected([])
    assert not box.put(message(0))
    assert box.put(message(1))
    assert drain(box)[0] is lasting
    assert dropped(tally) == {"offline": 2}


def test_mailbox_unconfirmed_messages_come_back_to_the_front_within_the_bound() -> None:
    box, tally = mailbox()
    waiting, unconfirmed = message(1), [message(1) for _ in range(3)]
    box.put(waiting)
    box.disconnected(unconfirmed)
    assert drain(box) == [*unconfirmed[1:], waiting]
    assert dropped(tally) == {"queue": 1}


def test_mailbox_says_the_latest_state_of_each_topic_once() -> None:
    box, _ = mailbox()
    for payload in (b"1", b"2", b"2"):
        box.set_state(RetainedState("a", payload))
    assert box.next_state() == RetainedState("a", b"2")
    assert box.next_state() is None
    box.set_state(RetainedState("a", b"2"))
    assert box.next_state() is None, "nothing changed"


def test_mailbox_says_all_states_again_after_connecting_the_first_topic_first() -> None:
    box, _ = mailbox()
    for topic in ("a", "first", "b"):
        box.set_state(RetainedState(topic, b"x"))
        box.next_state()
    assert not box.waiting
    box.connected("first")
    order = [state.topic for _ in range(3) if (state := box.next_state()) is not None]
    assert order == ["first", "a", "b"]


def test_mailbox_forgets_a_removed_topic_unless_it_was_set_again() -> None:
    box, _ = mailbox()
    for topic in ("gone", "back"):
        box.set_state(RetainedState(topic, b"x"))
        box.set_state(RetainedState(topic, b""))
    box.set_state(RetainedState("back", b"y"))
    for topic in ("gone", "back"):
        box.forget(RetainedState(topic, b""))
    assert box.states() == {"back": b"y"}


def test_mailbox_closed_counts_what_comes_and_what_never_left() -> None:
    box, tally = mailbox()
    box.put(message())
    box.shut()
    assert not box.put(message(1))
    box.abandon()
    assert dropped(tally) == {"closed": 2}
    assert box.next_message() is None
