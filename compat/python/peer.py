"""confluent-kafka (librdkafka) as a peer: produces and consumes record lines.

The lines are told in compat/README.md.

    peer.py produce BROKERS FILE [name=value ...] [-- FILE [name=value ...]] ...
    peer.py consume BROKERS [name=value ...] TOPIC...
    peer.py admin   BROKERS TOPIC PARTITIONS        create, list, describe, grow, delete
    peer.py group   BROKERS      what stdin says: start NAME GROUP TOPIC [name=value ...], stop NAME
    peer.py transact BROKERS IN OUT GROUP           commits, aborts, stores offsets, fences
    peer.py avro    BROKERS REGISTRY TOPIC          the values as JSON, by fastavro
    peer.py version
"""

import io
import json
import sys
import threading
import time
import urllib.request

import confluent_kafka
import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

NULL = "~"


def unhex(field):
    return None if field == NULL else bytes.fromhex(field)


def tohex(value):
    return NULL if value is None else value.hex()


def settings(arguments):
    return dict(a.split("=", 1) for a in arguments if "=" in a)


def parse(line):
    topic, partition, _offset, timestamp, key, value, headers = line.rstrip("\n").split("\t")
    pairs = [h.split("=") for h in headers.split(",") if h]
    record = {
        "topic": topic,
        "key": unhex(key),
        "value": unhex(value),
        "headers": [(bytes.fromhex(n).decode(), unhex(v)) for n, v in pairs],
    }
    if partition != NULL:
        record["partition"] = int(partition)
    if timestamp != NULL:
        record["timestamp"] = int(timestamp)
    return record


def line(m):
    headers = ",".join(f"{n.encode().hex()}={tohex(v)}" for n, v in m.headers() or [])
    place = (m.topic(), m.partition(), m.offset(), m.timestamp()[1])
    return "\t".join(map(str, (*place, tohex(m.key()), tohex(m.value()), headers)))


def produce(brokers, job):
    producer = Producer({"bootstrap.servers": brokers, **settings(job[1:])})
    acks, failures = [], []

    def delivered(slot):
        def callback(error, message):
            if error:
                failures.append(str(error))
            else:
                offset = -1 if message.offset() is None else message.offset()
                acks[slot] = (message.topic(), message.partition(), offset)

        return callback

    with open(job[0]) as lines:
        for slot, text in enumerate(lines):
            acks.append(None)
            producer.produce(**parse(text), on_delivery=delivered(slot))
            producer.poll(0)
    left = producer.flush(60)
    if left or failures:
        sys.exit(f"{left} not delivered, {len(failures)} failed, first: {failures[:1]}")
    for ack in acks:
        print(*ack, sep="\t")


def produce_all(brokers, arguments):
    job = []
    for argument in arguments:
        if argument == "--":
            produce(brokers, job)
            job = []
        else:
            job.append(argument)
    produce(brokers, job)


def consume(brokers, arguments):
    for m in messages(brokers, arguments):
        sys.stdout.write(line(m) + "\n")


def avro(brokers, registry, topic):
    schemas = {}
    how = ["isolation.level=read_committed", "enable.partition.eof=true"]
    for m in messages(brokers, [*how, topic]):
        value = m.value()
        if value[0] != 0:
            sys.exit(f"no schema's id is in front of {value}")
        number = int.from_bytes(value[1:5], "big")
        if number not in schemas:
            with urllib.request.urlopen(f"{registry}/schemas/ids/{number}", timeout=20) as answer:
                schemas[number] = fastavro.parse_schema(json.loads(json.load(answer)["schema"]))
        behind, again = io.BytesIO(value[5:]), io.BytesIO()
        read = fastavro.schemaless_reader(behind, schemas[number])
        fastavro.schemaless_writer(again, schemas[number], read)
        if behind.read() or again.getvalue() != value[5:]:
            sys.exit(f"not all of it is read, or it is written otherwise: {value}")
        print(number, json.dumps(read, default=str, ensure_ascii=False), sep="\t")


def messages(brokers, arguments):
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "compat",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            **settings(arguments),
        }
    )
    ends = {}
    for topic in (a for a in arguments if "=" not in a):
        metadata = consumer.list_topics(topic, timeout=20).topics[topic]
        for partition in sorted(metadata.partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
            if high > low:
                ends[(topic, partition)] = (low, high)
    consumer.assign([TopicPartition(t, p, low) for (t, p), (low, _) in ends.items()])
    deadline = time.monotonic() + 90
    left = {at: high for at, (_, high) in ends.items()}
    while left:
        if time.monotonic() > deadline:
            sys.exit(f"the end was not reached in 90 s: {left}")
        for m in consumer.consume(2000, timeout=0.2):
            at = (m.topic(), m.partition())
            # Told if it is wanted: the last offset may be that of a transaction's marker.
            if m.error() and m.error().code() == KafkaError._PARTITION_EOF:
                left.pop(at, None)
                continue
            if m.error():
                sys.exit(str(m.error()))
            yield m
            if m.offset() + 1 >= left.get(at, 0):
                left.pop(at, None)
    consumer.close()


class Member(threading.Thread):
    """One member of a group: says what it has and, once committed, what it has read.

    A commit that a rebalance comes before is tried again for what the member keeps: it is not
    given those records once more. What it loses others read.
    """

    def __init__(self, name, brokers, group, topic, arguments):
        super().__init__()
        self.name, self.topic, self.ending = name, topic, False
        self.uncommitted = []
        self.consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                **settings(arguments),
            }
        )

    def say(self, *fields):
        # One write, as other members speak too.
        sys.stdout.write("\t".join((self.name, *map(str, fields))) + "\n")
        sys.stdout.flush()

    def run(self):
        self.consumer.subscribe([self.topic], on_revoke=self.forget, on_lost=self.forget)
        assigned = ""
        while not self.ending:
            for m in self.consumer.consume(1000, timeout=0.05):
                if m.error():
                    self.say("error", m.error())
                else:
                    self.uncommitted.append(m)
            self.commit()
            now = ",".join(sorted(f"{p.topic}:{p.partition}" for p in self.consumer.assignment()))
            if now != assigned:
                assigned = now
                self.say("assigned", now)
        self.consumer.close()
        self.say("stopped")

    def forget(self, _consumer, partitions):
        gone = {(p.topic, p.partition) for p in partitions}
        self.uncommitted = [m for m in self.uncommitted if (m.topic(), m.partition()) not in gone]

    def commit(self):
        if not self.uncommitted:
            return
        ends = {(m.topic(), m.partition()): m.offset() + 1 for m in self.uncommitted}
        offsets = [TopicPartition(*at, end) for at, end in ends.items()]
        try:
            done = self.consumer.commit(offsets=offsets, asynchronous=False)
        except confluent_kafka.KafkaException as error:
            self.say("uncommitted", error.args[0].name())
            return
        refused = [p for p in done if p.error]
        if refused:
            self.say("uncommitted", refused[0].error.name())
            return
        for m in self.uncommitted:
            self.say("record", f"{m.topic()}:{m.partition()}:{m.offset()}")
        self.uncommitted = []

    def end(self):
        self.ending = True
        self.join()


def group(brokers):
    members = {}
    for text in sys.stdin:
        command, name, *rest = text.split()
        if command == "start":
            members[name] = Member(name, brokers, rest[0], rest[1], rest[2:])
            members[name].start()
        else:
            members.pop(name).end()
    for member in members.values():
        member.end()


def settle(futures):
    for name, future in futures.items():
        future.result(timeout=30)
        print("done", name)


def admin(brokers, arguments):
    topic, partitions = arguments[0], int(arguments[1])
    client = AdminClient({"bootstrap.servers": brokers})
    retention = {"retention.ms": "86400000"}
    settle(client.create_topics([NewTopic(topic, partitions, 1, config=retention)]))
    metadata = client.list_topics(timeout=20)
    while topic not in metadata.topics:
        metadata = client.list_topics(timeout=20)
    print("broker", len(metadata.brokers), "controller", metadata.controller_id in metadata.brokers)
    print("listed", topic in metadata.topics, len(metadata.topics[topic].partitions))
    topics = confluent_kafka.TopicCollection([topic])
    described = client.describe_topics(topics)[topic].result(timeout=30)
    leaders = {p.leader.id for p in described.partitions}
    print("described", described.name, len(described.partitions), leaders <= set(metadata.brokers))
    resource = confluent_kafka.admin.ConfigResource("topic", topic)
    configs = client.describe_configs([resource])[resource].result(timeout=30)
    print("config", configs["retention.ms"].value, configs["cleanup.policy"].value)
    settle(client.create_partitions([NewPartitions(topic, partitions + 2)]))
    deadline = time.monotonic() + 20
    while len(client.list_topics(topic, timeout=20).topics[topic].partitions) != partitions + 2:
        if time.monotonic() > deadline:
            sys.exit("the new partitions did not show up in 20 s")
    print("grown", partitions + 2)
    try:
        settle(client.create_topics([NewTopic(topic, 1, 1)]))
    except confluent_kafka.KafkaException as error:
        print("again", error.args[0].name())
    settle(client.delete_topics([topic], operation_timeout=20))
    while topic in client.list_topics(timeout=20).topics:
        if time.monotonic() > deadline:
            sys.exit("the deleted topic was still listed after 20 s")
    print("deleted", topic)


def transactional(brokers, name):
    producer = Producer({"bootstrap.servers": brokers, "transactional.id": name})
    producer.init_transactions(60)
    return producer


def transact(brokers, source, out, group):
    producer = transactional(brokers, out)
    for number in range(6):
        aborts = number % 3 == 1
        producer.begin_transaction()
        for i in range(10):
            producer.produce(out, f"{'aborted' if aborts else 'kept'}-{number}", partition=i % 3)
        if aborts:
            producer.flush(60)
            producer.abort_transaction(60)
        else:
            producer.commit_transaction(60)
    reader = Consumer({"bootstrap.servers": brokers, "group.id": group})
    for value, offset in (("kept-offsets", 7), ("aborted-offsets", 9)):
        producer.begin_transaction()
        producer.produce(out, value, partition=0)
        offsets = [TopicPartition(source, 0, offset)]
        producer.send_offsets_to_transaction(offsets, reader.consumer_group_metadata(), 60)
        if offset == 7:
            producer.commit_transaction(60)
        else:
            producer.abort_transaction(60)
    print("offset", reader.committed([TopicPartition(source, 0)], 60)[0].offset, sep="\t")
    reader.close()
    producer.begin_transaction()
    producer.produce(out, "aborted-fenced", partition=1)
    producer.flush(60)
    newer = transactional(brokers, out)
    newer.begin_transaction()
    newer.produce(out, "kept-newer", partition=1)
    newer.commit_transaction(60)
    fenced = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
    try:
        producer.produce(out, "aborted-late", partition=1)
        producer.commit_transaction(60)
        print("fenced\tno")
    except KafkaException as error:
        print("fenced", str(error.args[0].code() in fenced).lower(), sep="\t")


def main():
    command, rest = sys.argv[1], sys.argv[2:]
    if command == "produce":
        produce_all(rest[0], rest[1:])
    elif command == "consume":
        consume(rest[0], rest[1:])
    elif command == "admin":
        admin(rest[0], rest[1:])
    elif command == "group":
        group(rest[0])
    elif command == "transact":
        transact(*rest)
    elif command == "avro":
        avro(*rest)
    elif command == "version":
        print(f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})")
    else:
        sys.exit(__doc__)


main()
