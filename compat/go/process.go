// Members of a group that read, write and store their offsets in transactions, by franz-go's
// GroupTransactSession: each input's output is there once, whatever is aborted or rebalanced.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Of each member, one transaction of so many is aborted on purpose.
const abortedOf = 3

type processing struct {
	brokers, source, out, group string
	settings                    []string
	inputs                      int64
	done, aborted               atomic.Int64
}

// process has two members of a group handle all that is in a topic, the second as soon as the
// first has committed something.
func process(ctx context.Context, out *bufio.Writer, arguments []string) {
	all := &processing{
		brokers: arguments[0], source: arguments[1], out: arguments[2], group: arguments[3],
		settings: arguments[4:],
	}
	client, err := kgo.NewClient(seeds(all.brokers))
	fail(err)
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx, all.source)
	fail(err)
	fail(ends.Error())
	ends.Each(func(end kadm.ListedOffset) { all.inputs += end.Offset })

	begun, shared := make(chan struct{}), make(chan struct{})
	var handled [2]int64
	var members sync.WaitGroup
	members.Go(func() { handled[0] = all.member(ctx, "one", nil, begun, shared) })
	members.Go(func() {
		select {
		case <-begun:
		case <-ctx.Done():
		}
		handled[1] = all.member(ctx, "two", shared, nil, nil)
	})
	members.Wait()
	fail(ctx.Err())

	fmt.Fprintf(out, "done\t%d\t%d\naborted\t%d\n", handled[0], handled[1], all.aborted.Load())
	stored, err := admin.FetchOffsets(ctx, all.group)
	fail(err)
	fail(stored.Error())
	for _, offset := range stored.Sorted() {
		fmt.Fprintf(out, "offset\t%d\t%d\n", offset.Partition, offset.At)
	}
}

// member handles inputs until there are none left, and says how many it has. It closes has once
// it has partitions, and begun once it has committed; then it waits for the others.
func (all *processing) member(
	ctx context.Context, name string, has, begun chan struct{}, others <-chan struct{},
) int64 {
	var once sync.Once
	options := []kgo.Opt{
		seeds(all.brokers), kgo.ConsumerGroup(all.group), kgo.ConsumeTopics(all.source),
		kgo.TransactionalID(all.group + "-" + name),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
		kgo.HeartbeatInterval(100 * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			if has != nil && len(got[all.source]) > 0 {
				once.Do(func() { close(has) })
			}
		}),
	}
	for _, setting := range all.settings {
		if setting != "group.protocol=consumer" {
			fail(fmt.Errorf("unknown setting %s", setting))
		}
		options = append(options, kgo.ServerSideBalancer())
	}
	session, err := kgo.NewGroupTransactSession(options...)
	fail(err)
	defer session.Close()
	var handled int64
	for number := 0; all.done.Load() < all.inputs && ctx.Err() == nil; {
		polling, enough := context.WithTimeout(ctx, 100*time.Millisecond)
		fetches := session.PollRecords(polling, 10)
		enough()
		for _, failure := range fetches.Errors() {
			if !errors.Is(failure.Err, context.DeadlineExceeded) {
				fail(failure.Err)
			}
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		number++
		aborts := number%abortedOf == 0
		if all.transact(ctx, session, fetches, aborts) {
			handled += int64(fetches.NumRecords())
			all.done.Add(int64(fetches.NumRecords()))
			if begun != nil {
				close(begun)
				begun = nil
				select {
				case <-others:
				case <-ctx.Done():
				}
			}
		} else {
			all.aborted.Add(1)
		}
	}
	return handled
}

// transact writes a transaction, and says whether it was committed.
func (all *processing) transact(
	ctx context.Context, session *kgo.GroupTransactSession, fetches kgo.Fetches, aborts bool,
) bool {
	fail(session.Begin())
	word, end := "kept", kgo.TryCommit
	if aborts {
		word, end = "aborted", kgo.TryAbort
	}
	var records []*kgo.Record
	fetches.EachRecord(func(r *kgo.Record) {
		value := strings.Join([]string{word, string(r.Value)}, "-")
		records = append(records,
			&kgo.Record{Topic: all.out, Partition: r.Partition, Value: []byte(value)})
	})
	fail(session.ProduceSync(ctx, records...).FirstErr())
	committed, err := session.End(ctx, end)
	fail(err)
	return committed
}
