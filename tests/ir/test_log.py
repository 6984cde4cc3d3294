import graphcnn as gx
from graphcnn.ir import Chosen, CompileLog, Finished, Refusal, Rewritten, Skipped, Started

BEFORE = gx.parse("graph g {\ninput x: f32[1]\ny: f32[1] = relu(x)\nreturn y\n}")
AFTER = BEFORE.replace(nodes=(), outputs=("x",))


def test_listeners_hear_every_event_in_order_and_a_refusal_once():
    heard = []
    log = CompileLog((heard.append,))
    log.add(Started("drop", BEFORE))
    log.did("drop", "y", "rule: of thumb")
    log.refuse(Refusal("drop", "x", "is an input"))
    log.refuse(Refusal("drop", "x", "is an input"))
    log.add(Chosen("y", "tile", 64, (32, 64), "fewer programs"))
    log.add(Finished("drop", 0.5, BEFORE, AFTER))
    assert heard == log.events
    assert log.rewrites == [Rewritten("drop", "y", "rule: of thumb")]
    assert [refusal.node for refusal in log.refusals] == ["x"]
    assert [choice.chosen for choice in log.of(Chosen)] == [64]
    assert [stage.name for stage in log.of(Finished)] == ["drop"]


def test_the_graph_of_each_stage_is_kept():
    log = CompileLog()
    log.add(Started("drop", BEFORE))
    log.add(Finished("drop", 0.5, BEFORE, AFTER))
    log.add(Skipped("fuse", "fuse=False"))
    assert log.graphs == {"source": BEFORE, "drop": AFTER, "fuse": AFTER}
    assert CompileLog(events=[Skipped("fuse", "fuse=False")]).graphs == {}
