// franz-go as a peer: produces and consumes record lines (see compat/README.md).
//
//	peer produce BROKERS FILE [name=value ...] [-- FILE [name=value ...]] ...
//	peer consume BROKERS TOPIC...
//	peer create  BROKERS PARTITIONS [name=value ...] TOPIC...
//	peer admin   BROKERS TOPIC PARTITIONS        create, list, describe, grow, delete
//	peer reassign BROKERS TOPIC REPLICAS...      partition by partition, such as 2,3
//	peer group   BROKERS      commands on stdin: start NAME GROUP TOPIC [name=value ...], stop NAME
//	peer transact BROKERS OUT                    commits, aborts, fences
//	peer process BROKERS IN OUT GROUP [group.protocol=consumer]   two members, exactly once
//	peer version
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const null = "~"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 110*time.Second)
	defer cancel()
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	defer out.Flush()
	switch os.Args[1] {
	case "produce":
		produceAll(ctx, out, os.Args[2], os.Args[3:])
	case "consume":
		consume(ctx, out, os.Args[2], os.Args[3:])
	case "create":
		create(ctx, os.Args[2], os.Args[3], os.Args[4:])
	case "admin":
		admin(ctx, out, os.Args[2], os.Args[3], os.Args[4])
	case "reassign":
		reassign(ctx, os.Args[2], os.Args[3], os.Args[4:])
	case "group":
		// As long as it is told to: its members wait for other programs.
		group(context.Background(), os.Args[2])
	case "transact":
		transact(ctx, out, os.Args[2], os.Args[3])
	case "process":
		process(ctx, out, os.Args[2:])
	case "version":
		version(out)
	default:
		fail(fmt.Errorf("unknown command %s", os.Args[1]))
	}
}

func version(out *bufio.Writer) {
	build, _ := debug.ReadBuildInfo()
	for _, dependency := range build.Deps {
		if dependency.Path == "github.com/twmb/franz-go" {
			fmt.Fprintln(out, dependency.Version)
		}
	}
}

func produceAll(ctx context.Context, out *bufio.Writer, brokers string, arguments []string) {
	start := 0
	for end := 0; end <= len(arguments); end++ {
		if end == len(arguments) || arguments[end] == "--" {
			produce(ctx, out, brokers, arguments[start:end])
			start = end + 1
		}
	}
}

func produce(ctx context.Context, out *bufio.Writer, brokers string, job []string) {
	options := []kgo.Opt{seeds(brokers), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	for _, setting := range job[1:] {
		options = append(options, option(setting))
	}
	client, err := kgo.NewClient(options...)
	fail(err)
	defer client.Close()
	var records []*kgo.Record
	content, err := os.ReadFile(job[0])
	fail(err)
	for line := range strings.SplitSeq(strings.TrimSuffix(string(content), "\n"), "\n") {
		records = append(records, parse(line))
	}
	fail(client.ProduceSync(ctx, records...).FirstErr())
	for _, r := range records {
		fmt.Fprintf(out, "%s\t%d\t%d\n", r.Topic, r.Partition, r.Offset)
	}
}

// transactional begins a transaction under the name of the topic it writes to.
func transactional(brokers, name string) *kgo.Client {
	client, err := kgo.NewClient(seeds(brokers), kgo.TransactionalID(name),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	fail(err)
	return client
}

func write(
	ctx context.Context, client *kgo.Client, topic string, partition int32, value string,
) error {
	record := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
	return client.ProduceSync(ctx, record).FirstErr()
}

func transact(ctx context.Context, out *bufio.Writer, brokers, topic string) {
	client := transactional(brokers, topic)
	defer client.Close()
	for number := range 8 {
		fail(client.BeginTransaction())
		word, end, records := "kept", kgo.TryCommit, 10
		if number%3 == 1 {
			word, end = "aborted", kgo.TryAbort
		}
		if number >= 6 {
			records = 1
		}
		for i := range records {
			fail(write(ctx, client, topic, int32(i%3), fmt.Sprintf("%s-%d", word, number)))
		}
		fail(client.EndTransaction(ctx, end))
	}
	fail(client.BeginTransaction())
	fail(write(ctx, client, topic, 1, "aborted-fenced"))
	newer := transactional(brokers, topic)
	defer newer.Close()
	fail(newer.BeginTransaction())
	fail(write(ctx, newer, topic, 1, "kept-newer"))
	fail(newer.EndTransaction(ctx, kgo.TryCommit))
	err := write(ctx, client, topic, 1, "aborted-late")
	if err == nil {
		err = client.EndTransaction(ctx, kgo.TryCommit)
	}
	fenced := errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
	fmt.Fprintf(out, "fenced\t%t\n", fenced)
}

func seeds(brokers string) kgo.Opt {
	return kgo.SeedBrokers(strings.Split(brokers, ",")...)
}

func option(setting string) kgo.Opt {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	name, value, _ := strings.Cut(setting, "=")
	if codec, known := codecs[value]; known && name == "compression.type" {
		return kgo.ProducerBatchCompression(codec)
	}
	fail(fmt.Errorf("unknown setting %s", setting))
	return nil
}

func parse(line string) *kgo.Record {
	field := strings.Split(line, "\t")
	record := &kgo.Record{Topic: field[0], Key: unhex(field[4]), Value: unhex(field[5])}
	if field[1] != null {
		partition, err := strconv.ParseInt(field[1], 10, 32)
		fail(err)
		record.Partition = int32(partition)
	}
	if field[3] != null {
		timestamp, err := strconv.ParseInt(field[3], 10, 64)
		fail(err)
		record.Timestamp = time.UnixMilli(timestamp)
	}
	if field[6] != "" {
		for pair := range strings.SplitSeq(field[6], ",") {
			name, value, _ := strings.Cut(pair, "=")
			header := kgo.RecordHeader{Key: string(unhex(name)), Value: unhex(value)}
			record.Headers = append(record.Headers, header)
		}
	}
	return record
}

func consume(ctx context.Context, out *bufio.Writer, brokers string, topics []string) {
	client, err := kgo.NewClient(seeds(brokers))
	fail(err)
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topics...)
	fail(err)
	ends, err := admin.ListEndOffsets(ctx, topics...)
	fail(err)
	fail(ends.Error())
	client.Close()

	assigned, left := map[string]map[int32]kgo.Offset{}, map[string]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		if start.Offset < end.Offset {
			if assigned[end.Topic] == nil {
				assigned[end.Topic] = map[int32]kgo.Offset{}
			}
			assigned[end.Topic][end.Partition] = kgo.NewOffset().At(start.Offset)
			left[fmt.Sprint(end.Topic, end.Partition)] = end.Offset
		}
	})
	client, err = kgo.NewClient(seeds(brokers), kgo.ConsumePartitions(assigned))
	fail(err)
	defer client.Close()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		fetches.EachError(func(topic string, partition int32, err error) {
			fail(fmt.Errorf("%s-%d: %w", topic, partition, err))
		})
		fetches.EachRecord(func(r *kgo.Record) {
			fmt.Fprintln(out, line(r))
			if at := fmt.Sprint(r.Topic, r.Partition); r.Offset+1 >= left[at] {
				delete(left, at)
			}
		})
	}
}

func line(r *kgo.Record) string {
	var headers []string
	for _, header := range r.Headers {
		headers = append(headers, tohex([]byte(header.Key))+"="+tohex(header.Value))
	}
	return fmt.Sprintf("%s\t%d\t%d\t%d\t%s\t%s\t%s", r.Topic, r.Partition, r.Offset,
		r.Timestamp.UnixMilli(), tohex(r.Key), tohex(r.Value), strings.Join(headers, ","))
}

func create(ctx context.Context, brokers, count string, arguments []string) {
	partitions, err := strconv.Atoi(count)
	fail(err)
	configs, topics := map[string]*string{}, []string{}
	for _, argument := range arguments {
		if name, value, isSetting := strings.Cut(argument, "="); isSetting {
			configs[name] = &value
		} else {
			topics = append(topics, argument)
		}
	}
	fresh := kgo.MetadataMinAge(10 * time.Millisecond)
	client, err := kgo.NewClient(seeds(brokers), fresh)
	fail(err)
	defer client.Close()
	created, err := kadm.NewClient(client).CreateTopics(ctx, int32(partitions), 1, configs, topics...)
	fail(err)
	fail(created.Error())
	awaitTopics(ctx, kadm.NewClient(client), topics, partitions)
	awaitLeaders(ctx, kadm.NewClient(client), topics)
}

// Metadata names a leader before it leads; what is sent to it meanwhile with acks=0 is lost.
func awaitLeaders(ctx context.Context, admin *kadm.Client, topics []string) {
	for {
		ends, err := admin.ListEndOffsets(ctx, topics...)
		if err == nil && ends.Error() == nil {
			return
		}
		fail(ctx.Err())
		time.Sleep(5 * time.Millisecond)
	}
}

// A topic is created before every broker's metadata shows it.
func awaitTopics(ctx context.Context, admin *kadm.Client, topics []string, partitions int) {
	for _, topic := range topics {
		for {
			listed, err := admin.ListTopics(ctx, topic)
			fail(err)
			if len(listed[topic].Partitions) == partitions {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func admin(ctx context.Context, out *bufio.Writer, brokers, topic, count string) {
	partitions, err := strconv.Atoi(count)
	fail(err)
	// What was just changed must show at once.
	fresh := kgo.MetadataMinAge(10 * time.Millisecond)
	client, err := kgo.NewClient(seeds(brokers), fresh)
	fail(err)
	defer client.Close()
	admin := kadm.NewClient(client)
	retention := "86400000"
	configs := map[string]*string{"retention.ms": &retention}
	_, err = admin.CreateTopic(ctx, int32(partitions), 1, configs, topic)
	fail(err)
	fmt.Fprintln(out, "done", topic)
	awaitTopics(ctx, admin, []string{topic}, partitions)
	metadata, err := admin.Metadata(ctx)
	fail(err)
	fmt.Fprintln(out, "broker", len(metadata.Brokers), "controller", metadata.Controller >= 0)
	listed := metadata.Topics[topic]
	hasID := listed.ID != kadm.TopicID{}
	fmt.Fprintln(out, "listed", listed.Topic == topic, len(listed.Partitions), "id", hasID)
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	fail(err)
	for _, config := range described[0].Configs {
		if config.Key == "retention.ms" || config.Key == "cleanup.policy" {
			fmt.Fprintln(out, "config", config.Key, config.MaybeValue())
		}
	}
	grown, err := admin.CreatePartitions(ctx, 2, topic)
	fail(err)
	fail(grown.Error())
	awaitTopics(ctx, admin, []string{topic}, partitions+2)
	fmt.Fprintln(out, "grown", partitions+2)
	_, err = admin.CreateTopic(ctx, 1, 1, nil, topic)
	fmt.Fprintln(out, "again", errors.Is(err, kerr.TopicAlreadyExists))
	deleted, err := admin.DeleteTopics(ctx, topic)
	fail(err)
	fail(deleted.Error())
	for {
		topics, err := admin.ListTopics(ctx)
		fail(err)
		if !topics.Has(topic) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Fprintln(out, "deleted", topic)
}

// Moves each partition to its replicas, the first of which is to lead, and waits for the end.
func reassign(ctx context.Context, brokers, topic string, targets []string) {
	client, err := kgo.NewClient(seeds(brokers))
	fail(err)
	defer client.Close()
	admin := kadm.NewClient(client)
	var moves kadm.AlterPartitionAssignmentsReq
	partitions := make(kadm.TopicsSet)
	for partition, target := range targets {
		var replicas []int32
		for id := range strings.SplitSeq(target, ",") {
			replica, err := strconv.ParseInt(id, 10, 32)
			fail(err)
			replicas = append(replicas, int32(replica))
		}
		moves.Assign(topic, int32(partition), replicas)
		partitions.Add(topic, int32(partition))
	}
	moved, err := admin.AlterPartitionAssignments(ctx, moves)
	fail(err)
	fail(moved.Error())
	for {
		moving, err := admin.ListPartitionReassignments(ctx, partitions)
		fail(err)
		if len(moving[topic]) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	elected, err := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, partitions)
	fail(err)
	for _, result := range elected[topic] {
		if result.Err != nil && !errors.Is(result.Err, kerr.ElectionNotNeeded) {
			fail(result.Err)
		}
	}
}

func unhex(field string) []byte {
	if field == null {
		return nil
	}
	value, err := hex.DecodeString(field)
	fail(err)
	return value
}

func tohex(value []byte) string {
	if value == nil {
		return null
	}
	return hex.EncodeToString(value)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
