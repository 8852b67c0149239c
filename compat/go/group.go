// Members of consumer groups, by franz-go (see "Group members" in compat/README.md).

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type member struct {
	name   string
	client *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	mutex    sync.Mutex
	assigned map[string]bool
	// Read, and not yet committed; what the member loses of it others read.
	uncommitted []*kgo.Record
}

var saying sync.Mutex

func say(fields ...string) {
	saying.Lock()
	defer saying.Unlock()
	fmt.Println(strings.Join(fields, "\t"))
}

func group(ctx context.Context, brokers string) {
	members := map[string]*member{}
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		words := strings.Fields(commands.Text())
		if words[0] == "start" {
			members[words[1]] = startMember(ctx, words[1], brokers, words[2], words[3], words[4:])
		} else {
			members[words[1]].end()
			delete(members, words[1])
		}
	}
	for _, member := range members {
		member.end()
	}
}

func startMember(
	ctx context.Context, name, brokers, group, topic string, settings []string,
) *member {
	m := &member{name: name, assigned: map[string]bool{}, done: make(chan struct{})}
	options := []kgo.Opt{
		seeds(brokers), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
			m.change(p, true)
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
			m.change(p, false)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
			m.change(p, false)
		}),
		kgo.BlockRebalanceOnPoll(),
	}
	balancers := map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
		"sticky": kgo.StickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		switch name {
		case "partition.assignment.strategy":
			options = append(options, kgo.Balancers(balancers[value]))
		case "group.protocol":
			options = append(options, kgo.ServerSideBalancer())
		case "group.instance.id":
			options = append(options, kgo.InstanceID(value))
		default:
			fail(fmt.Errorf("unknown setting %s", setting))
		}
	}
	client, err := kgo.NewClient(options...)
	fail(err)
	m.client = client
	ctx, m.cancel = context.WithCancel(ctx)
	go m.run(ctx)
	return m
}

func (m *member) change(partitions map[string][]int32, added bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for topic, indexes := range partitions {
		for _, index := range indexes {
			place := fmt.Sprintf("%s:%d", topic, index)
			if added {
				m.assigned[place] = true
			} else {
				delete(m.assigned, place)
			}
		}
	}
	m.uncommitted = slices.DeleteFunc(m.uncommitted, func(r *kgo.Record) bool {
		return !m.assigned[fmt.Sprintf("%s:%d", r.Topic, r.Partition)]
	})
	var all []string
	for place := range m.assigned {
		all = append(all, place)
	}
	sort.Strings(all)
	say(m.name, "assigned", strings.Join(all, ","))
}

func (m *member) run(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		// A commit that a rebalance came before is tried again soon.
		polling, enough := context.WithTimeout(ctx, 50*time.Millisecond)
		fetches := m.client.PollFetches(polling)
		enough()
		m.mutex.Lock()
		fetches.EachRecord(func(r *kgo.Record) { m.uncommitted = append(m.uncommitted, r) })
		read := slices.Clone(m.uncommitted)
		m.mutex.Unlock()
		m.commit(read)
		m.client.AllowRebalance()
	}
	m.client.CloseAllowingRebalance()
	say(m.name, "stopped")
}

// No rebalance comes between the poll and this.
func (m *member) commit(read []*kgo.Record) {
	if len(read) == 0 {
		return
	}
	if err := m.client.CommitRecords(context.Background(), read...); err != nil {
		say(m.name, "uncommitted", err.Error())
		return
	}
	for _, r := range read {
		say(m.name, "record", fmt.Sprintf("%s:%d:%d", r.Topic, r.Partition, r.Offset))
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.uncommitted = nil
}

func (m *member) end() {
	m.cancel()
	<-m.done
}
