import { describe, expect, it } from 'vitest';
import { type Flushable, Turn, type Wakeable } from '../../src/base/turn.ts';

/** A turn whose schedule is a list that the test runs by hand. */
function manualTurn() {
  const scheduled: (() => void)[] = [];
  const turn = new Turn((run) => scheduled.push(run));
  return { turn, scheduled };
}

function wakeable(runTurn: (self: Wakeable) => void): Wakeable {
  const self: Wakeable = { woken: false, runTurn: () => runTurn(self) };
  return self;
}

function flushable(flush: () => void): Flushable {
  return { flushPending: false, flush };
}

describe('Turn', () => {
  it('delivers, then commits, then flushes', () => {
    const { turn } = manualTurn();
    const log: string[] = [];
    const socket = flushable(() => log.push('flush'));
    turn.commit = () => log.push('commit');
    turn.wake(
      wakeable(() => {
        log.push('deliver');
        turn.flushLater(socket);
      }),
    );
    turn.run();
    expect(log).toEqual(['deliver', 'commit', 'flush']);
    expect(turn.turns).toBe(1);
  });

  it('leaves what is too much for one turn to the next, where it is first', () => {
    const scheduled: (() => void)[] = [];
    const turn = new Turn((run) => scheduled.push(run), 5);
    const log: string[] = [];
    const late = wakeable(() => log.push('late'));
    const slow = wakeable(() => {
      turn.wake(late);
      expect(turn.isLong).toBe(false);
      const until = performance.now() + 6;
      while (performance.now() < until);
      expect(turn.isLong).toBe(true);
      log.push('slow');
    });
    turn.commit = () => log.push('commit');
    const next = wakeable(() => log.push('next'));
    turn.wake(slow);
    turn.wake(next);
    scheduled.shift()!();
    expect(log.splice(0)).toEqual(['slow', 'commit']);
    expect([next.woken, late.woken, turn.isLong]).toEqual([true, true, false]);
    scheduled.shift()!();
    expect(log.splice(0)).toEqual(['next', 'late', 'commit']);
    turn.wake(slow);
    turn.wake(next);
    // Run by hand, a turn takes as long as it takes.
    slow.runTurn = () => {
      const until = performance.now() + 6;
      while (performance.now() < until);
      expect(turn.isLong).toBe(false);
    };
    turn.run();
    expect(log).toEqual(['next', 'commit']);
  });

  it('runs what is woken many times only once', () => {
    const { turn, scheduled } = manualTurn();
    let runs = 0;
    const queue = wakeable((self) => {
      runs += 1;
      expect(self.woken).toBe(false);
    });
    turn.wake(queue);
    turn.wake(queue);
    expect(queue.woken).toBe(true);
    expect(scheduled.length).toBe(1);
    scheduled.shift()?.();
    expect(runs).toBe(1);
    expect(scheduled.length).toBe(0);
  });

  it('lets a queue that has more to do go on in the next turn, not in the same one', () => {
    const { turn, scheduled } = manualTurn();
    let left = 3;
    const busy = wakeable((self) => {
      left -= 1;
      if (left > 0) turn.wake(self);
    });
    turn.wake(busy);
    for (let i = 2; i >= 0; i--) {
      scheduled.shift()?.();
      expect(left).toBe(i);
    }
    expect(scheduled.length).toBe(0);
    expect(turn.turns).toBe(3);
  });

  it('runs what others wake during a turn in the next turn', () => {
    const { turn, scheduled } = manualTurn();
    const log: string[] = [];
    const late = wakeable(() => log.push('late'));
    turn.wake(
      wakeable(() => {
        log.push('first');
        turn.wake(late);
      }),
    );
    turn.run();
    expect(log).toEqual(['first']);
    scheduled.shift()?.();
    expect(log).toEqual(['first', 'late']);
  });

  it('goes on with the others when one fails, and says who failed', () => {
    const { turn } = manualTurn();
    const failures: [string, unknown][] = [];
    const bad = wakeable(() => {
      throw new Error('deliver');
    });
    const badSocket = flushable(() => {
      throw new Error('flush');
    });
    const log: string[] = [];
    turn.onError = (error, who) => failures.push([(error as Error).message, who]);
    turn.commit = () => {
      throw new Error('commit');
    };
    turn.wake(bad);
    turn.wake(wakeable(() => log.push('good')));
    turn.flushLater(badSocket);
    turn.flushLater(flushable(() => log.push('flushed')));
    turn.run();
    expect(log).toEqual(['good', 'flushed']);
    expect(failures).toEqual([
      ['deliver', bad],
      ['commit', null],
      ['flush', badSocket],
    ]);
  });

  it('commits when a commit is asked for without any delivery', () => {
    const { turn, scheduled } = manualTurn();
    let commits = 0;
    turn.commit = () => {
      commits += 1;
    };
    turn.request();
    turn.request();
    expect(scheduled.length).toBe(1);
    scheduled.shift()?.();
    expect(commits).toBe(1);
    // Written while the sockets are flushed: too late for this turn's commit, so there is another turn.
    turn.flushLater(flushable(() => turn.request()));
    scheduled.shift()?.();
    scheduled.shift()?.();
    expect(commits).toBe(3);
    expect(scheduled.length).toBe(0);
  });

  it('does nothing when it is run from inside a turn', () => {
    const { turn } = manualTurn();
    turn.wake(wakeable(() => turn.run()));
    turn.run();
    expect(turn.turns).toBe(1);
  });

  it('remembers the longest turn until it is told to forget', () => {
    const { turn } = manualTurn();
    turn.wake(
      wakeable(() => {
        const until = performance.now() + 3;
        while (performance.now() < until);
      }),
    );
    turn.run();
    expect(turn.longestTurnMs).toBeGreaterThanOrEqual(3);
    turn.longestTurnMs = 0;
    turn.run();
    expect(turn.longestTurnMs).toBeLessThan(3);
  });

  it('runs once per event-loop iteration by default', async () => {
    const turn = new Turn();
    let runs = 0;
    const done = new Promise<void>((resolve) => {
      turn.wake(
        wakeable((self) => {
          runs += 1;
          if (runs < 5) turn.wake(self);
          else resolve();
        }),
      );
    });
    expect(runs).toBe(0);
    await done;
    expect(runs).toBe(5);
    expect(turn.turns).toBe(5);
  });
});
