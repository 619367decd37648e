import assert from 'node:assert/strict';
import { test } from 'node:test';
import { availableCpus } from '../src/cpus.js';

const rows: readonly { when: string; files: Record<string, string>; schedulable?: number; cpus: number }[] = [
  { when: 'there is no cgroup', files: {}, cpus: 8 },
  {
    when: 'cgroup v2 sets no limit',
    files: { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': 'max 100000\n' },
    cpus: 8,
  },
  {
    when: 'cgroup v2 grants two CPUs',
    files: { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '200000 100000\n' },
    cpus: 2,
  },
  {
    when: 'a cgroup above our own grants less than ours does',
    files: {
      '/proc/self/cgroup': '0::/pod/app\n',
      '/sys/fs/cgroup/pod/app/cpu.max': '400000 100000\n',
      '/sys/fs/cgroup/pod/cpu.max': '300000 100000\n',
    },
    cpus: 3,
  },
  {
    when: "the path is the host's, and only the root is mounted",
    files: { '/proc/self/cgroup': '0::/docker/0123abcd\n', '/sys/fs/cgroup/cpu.max': '250000 50000\n' },
    cpus: 5,
  },
  {
    when: 'cgroup v1 grants two CPUs',
    files: {
      '/proc/self/cgroup': '5:memory:/a\n4:cpu,cpuacct:/a\n3:cpuset:/a\n0::/a\n',
      '/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us': '200000\n',
      '/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
    },
    cpus: 2,
  },
  {
    when: 'cgroup v1 sets no limit',
    files: {
      '/proc/self/cgroup': '1:cpu:/\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    },
    cpus: 8,
  },
  {
    when: 'the quota is one and a half',
    files: { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '150000 100000\n' },
    cpus: 1,
  },
  {
    when: 'the quota is a tenth',
    files: { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '10000 100000\n' },
    cpus: 1,
  },
  {
    when: 'the quota is larger than the machine',
    files: { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '1600000 100000\n' },
    schedulable: 4,
    cpus: 4,
  },
];

for (const { when, files, schedulable = 8, cpus } of rows) {
  test(`availableCpus() is ${cpus} of ${schedulable} when ${when}`, () => {
    assert.equal(
      availableCpus((path) => files[path], schedulable),
      cpus,
    );
  });
}

test('availableCpus() of this machine is a whole number, at least 1', () => {
  assert.ok(Number.isInteger(availableCpus()) && availableCpus() >= 1);
});
