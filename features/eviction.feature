Feature: Idle workers make room for others, and pinned ones stay

  Scenario: A hive that may run one worker ends the idle one when another model is asked for
    Given a configuration file that says:
      """
      [limits]
      max_workers = 1
      """
    And a queen and a hive run
    And the bundled model copied as "other.gguf" into the models folder
    When I run `rbee-keeper infer --prompt "hello" --max-tokens 8`
    Then the exit code is 0
    And the only worker of the hive is "first"
    When I post this task:
      """
      {"model": "file://<home>/.local/share/rbee/models/other.gguf", "prompt": "Hello", "max_tokens": 8}
      """
    Then the stream ends with "end"
    And the narration "make_room" mentions "the limit is 1 worker: ended builtin:honeycomb, idle for"
    And the stream narrates "make_room" before "worker_start"
    And the process of "first" is gone
    And the hive lists 1 worker with:
      """
      {"model_ref": "file://<home>/.local/share/rbee/models/other.gguf", "state": "idle"}
      """

  Scenario: Where memory is too small for two models, the idle one makes room
    Given a machine with 170 MB of memory for workers
    And a queen and a hive run
    And the bundled model copied as "other.gguf" into the models folder
    When I run `rbee-keeper infer --prompt "hello" --max-tokens 8`
    Then the exit code is 0
    And the only worker of the hive is "first"
    When I run `rbee-keeper infer --model <home>/.local/share/rbee/models/other.gguf --prompt "hello" --max-tokens 8`
    Then the exit code is 0
    And stdout is not empty
    And stderr matches /MB needed, \d+ MB free: ended builtin:honeycomb, idle for/
    And the process of "first" is gone

  Scenario: What is too large even then ends nobody
    Given a machine with 4000 MB of memory for workers
    # Soon after its start a worker may be ended.
    And the time limit ready_poll is 50ms
    And a made model "small.gguf" of 1000 MB
    And a made model "large.gguf" of 5000 MB
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {}
      """
    When I run `rbee-keeper workers spawn --model <home>/.local/share/rbee/models/small.gguf`
    Then it has started the worker "small"
    When I run `rbee-keeper infer --model <home>/.local/share/rbee/models/large.gguf --prompt "hello"`
    Then the exit code is 1
    And stderr matches /need 6000 MB, 2\d\d\d MB are free/
    And stderr matches /<noted small> .* is idle, but ending it would not be enough/
    And the workers of the hive are "small"

  Scenario: The worker that was used least recently is ended, and no more than it takes
    Given a machine with 4000 MB of memory for workers
    # Soon after its start a worker may be ended.
    And the time limit ready_poll is 50ms
    And a made model "a.gguf" of 1000 MB
    And a made model "b.gguf" of 1000 MB
    And a made model "c.gguf" of 1000 MB
    And a made model "d.gguf" of 1000 MB
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {}
      """
    When I run `rbee-keeper workers spawn --model <home>/.local/share/rbee/models/a.gguf`
    Then it has started the worker "a"
    When I run `rbee-keeper workers spawn --model <home>/.local/share/rbee/models/b.gguf`
    Then it has started the worker "b"
    When I run `rbee-keeper workers spawn --model <home>/.local/share/rbee/models/c.gguf`
    Then it has started the worker "c"
    When I run `rbee-keeper infer --model <home>/.local/share/rbee/models/a.gguf --prompt "hello"`
    Then the exit code is 0
    When I run `rbee-keeper workers spawn --model <home>/.local/share/rbee/models/d.gguf`
    Then it has started the worker "d"
    And stderr matches /1200 MB needed, 6\d\d MB free: ended b.gguf, idle for/
    And the workers of the hive are "a, c, d"

  Scenario: A worker that generates is not ended for another, which waits until it has finished
    Given a configuration file that says:
      """
      [limits]
      max_workers = 1
      """
    And a made model "other.gguf" of 10 MB
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    When I post this task in the background:
      """
      {"node": "localhost", "prompt": "Hello"}
      """
    And the open stream has come to a token
    Then the only worker of the hive is "busy"
    When I start `rbee-keeper infer --model <home>/.local/share/rbee/models/other.gguf --prompt "hello"`
    Then it says "waiting for room on localhost: this node runs 1 worker, which is its limit"
    And the workers of the hive are "busy"
    When the workers go on
    Then the open stream ends with "end"
    And the process of "busy" is gone
    And a worker runs whose id is not that of "busy"
    When the workers go on when it has written to stdout
    Then the exit code is 0
    And stderr matches /the limit is 1 worker: ended builtin:honeycomb, idle for/

  Scenario: Who has waited for room as long as may be gets told why there is none
    Given a configuration file that says:
      """
      [limits]
      max_workers = 1
      """
    And the time limit slot_wait is 300ms
    And a made model "other.gguf" of 10 MB
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    When I post this task in the background:
      """
      {"node": "localhost", "prompt": "Hello"}
      """
    And the open stream has come to a token
    Then the only worker of the hive is "busy"
    When I run `rbee-keeper infer --model <home>/.local/share/rbee/models/other.gguf --prompt "hello"`
    Then the exit code is 1
    And stderr shows "waiting for room on localhost"
    And stderr matches /this node runs 1 worker, which is its limit; <noted busy> .* is in use/
    When the workers go on
    Then the open stream ends with "end"
    And the workers of the hive are "busy"

  Scenario: A pinned worker is kept, and the refusal says how to let it go
    Given a configuration file that says:
      """
      [limits]
      max_workers = 1
      """
    And a queen and a hive run
    And the bundled model copied as "other.gguf" into the models folder
    When I run `rbee-keeper workers spawn --pin`
    Then it has started the worker "kept"
    And stdout matches /is ready on localhost \(idle, pinned\):/
    When I run `rbee-keeper workers list`
    Then stdout matches /<noted kept> +localhost +idle, pinned /
    When I run `rbee-keeper infer --model <home>/.local/share/rbee/models/other.gguf --prompt "hello" --max-tokens 8`
    Then the exit code is 1
    And stdout is empty
    And stderr matches /<noted kept> .* is pinned/
    And stderr shows "rbee-keeper workers pin --id <noted kept> --off"
    And the workers of the hive are "kept"
    When I run `rbee-keeper workers pin --id <noted kept> --off`
    Then the exit code is 0
    When I run `rbee-keeper infer --model <home>/.local/share/rbee/models/other.gguf --prompt "hello" --max-tokens 8`
    Then the exit code is 0
    And the process of "kept" is gone

  Scenario: A pinned worker stays when the idle time is over, and ends on request
    Given the time limit idle_worker is 700ms
    And a queen and a hive run
    When I run `rbee-keeper workers spawn --pin --slots 2 --ctx 256 --json`
    Then it has started the worker "kept"
    When I run `rbee-keeper workers spawn`
    Then it has started the worker "other"
    And the process of "other" is gone
    And the hive lists 1 worker with:
      """
      {"worker_id": "<noted kept>", "state": "idle", "pinned": true, "slots_total": 2}
      """
    When I run `rbee-keeper workers shutdown --id <noted kept>`
    Then the hive lists no worker

  Scenario: A worker is started from nothing, and goes with the queen of its command
    When I run `rbee-keeper workers spawn`
    Then the exit code is 0
    And stdout matches /worker-.* is ready on localhost \(idle\):/
    And stderr shows "worker ends with this queen, after this command; one that stays: rbee-keeper queen start"
    And no process is left

  Scenario: A worker that is started from nothing answers the next command, while its queen is kept
    When I run `rbee-keeper workers spawn --keep-alive 1m`
    Then it has started the worker "ahead"
    And stderr shows "worker ends with this queen, 1 min after the last command"
    When I run `rbee-keeper infer --prompt "hello" --max-tokens 8`
    Then the exit code is 0
    And stderr does not show "starting a worker"
    And the workers of the hive are "ahead"
    When I run `rbee-keeper queen stop`
    Then the exit code is 0
    And no process is left
