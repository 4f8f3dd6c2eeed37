Feature: The life of workers at their hive

  @S33
  Scenario: A model that is not loaded in time
    Given the time limit model_load is 1500ms
    And a hive runs whose workers follow this script:
      """
      {"layers": 32, "pauseAtLayer": 28}
      """
    When I run `rbee-keeper infer --node localhost --prompt "hello"`
    Then the exit code is 1
    And stderr shows "not loaded within 1.5 s: 28 of 32 layers are loaded"
    And stderr shows "LOADING_TIMEOUT"
    And stderr shows "state: loading"
    And stderr shows "rbee-keeper logs --node localhost --worker worker-"
    And the hive lists no worker
    And no worker process is left

  @S42
  Scenario: Loading that stands still ends every task that waits for it, with the state, the layers and where to look
    Given the time limit model_load is 1500ms
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {"layers": 32, "pauseAtLayer": 28}
      """
    When I post this task in the background:
      """
      {"node": "localhost", "prompt": "hello"}
      """
    And I run `rbee-keeper infer --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr tells in order:
      | not loaded within 1.5 s: 28 of 32 layers are loaded    |
      | state: loading                                         |
      | rbee-keeper logs --node localhost --worker worker-     |
    And the open stream ends with "error"
    And the error of the stream is 408 LOADING_TIMEOUT with:
      """
      {"state": "loading", "layers_loaded": 28, "layers_total": 32}
      """
    And the suggestion of the error shows "rbee-keeper logs --node localhost --worker worker-"
    And no worker process is left

  @S48
  Scenario: A worker without work ends by itself, and the next task starts another
    Given the time limit idle_worker is 1500ms
    And a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I post this task:
      """
      {"prompt": "Hello", "max_tokens": 8}
      """
    Then the stream assigns the noted worker as reused
    And the worker ends 1500 ms after its job, give or take 1000 ms
    And its log shows "had no job for 1.5 s and ends"
    And no force-kill was logged
    And the hive still runs
    When I post this task:
      """
      {"prompt": "Hello", "max_tokens": 8}
      """
    Then the stream narrates "worker_spawn" before "worker_ready"
    And the stream ends with "end"

  @S45
  Scenario: After the idle time a worker frees its memory and goes, and the next task is a cold start
    Given the time limit idle_worker is 1500ms
    And a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I post this task:
      """
      {"prompt": "Hello", "max_tokens": 8}
      """
    Then the worker ends 1500 ms after its job, give or take 1000 ms
    And the log of the ended worker shows "shutting down (request)"
    And the log of the ended worker shows "freed the memory of the model"
    And the worker's process ended with the code 0
    And the hive lists no worker
    When I post this task:
      """
      {"prompt": "Hello", "max_tokens": 8}
      """
    Then the stream narrates "worker_spawn" before "worker_ready"
    And the stream ends with "end"

  @S47
  Scenario: Health is looked at regularly; the third failure removes the worker
    Given the time limit health_poll is 300ms
    And the time limit health_call is 1500ms
    And a hive runs
    And I watch the hive's events
    And an idle worker for "builtin:honeycomb" with 1 slot
    Then its last activity is renewed
    When the worker stands still
    Then the hive lists 1 worker with:
      """
      {"state": "unhealthy", "failed_health_checks": 1}
      """
    And the hive lists no worker
    And the worker's process is gone
    And the force-kill of the worker is recorded with its pid, SIGKILL and "3 health checks failed in a row"
    And the hive still runs

  @L041
  Scenario: The worker's program is not installed
    Given a hive runs whose workers follow this script:
      """
      {"noProgram": true}
      """
    When I run `rbee-keeper infer --node localhost --prompt "hello"`
    Then the exit code is 1
    And stderr shows "WORKER_BINARY_NOT_FOUND"
    And stderr shows "rbee-keeper setup install"
    And it took less than 10 s

  @L042
  Scenario: The first port is taken by somebody else
    Given another program holds the first worker port
    And a queen and a hive run
    When I post this task:
      """
      {"node": "localhost", "prompt": "Hello", "max_tokens": 8}
      """
    Then the stream ends with "end"
    And the narration "port_in_use" mentions "trying the next one"
    And the hive lists 1 worker with:
      """
      {"url": "http://127.0.0.1:<second worker port>"}
      """

  @L043
  Scenario: A worker ends while it starts
    Given a hive runs whose workers follow this script:
      """
      {"failAtStart": "error: the engine has no idea what to do with this"}
      """
    When I run `rbee-keeper infer --node localhost --prompt "hello"`
    Then the exit code is 1
    And stderr shows "WORKER_STARTUP_FAILED"
    And stderr shows "the engine has no idea what to do with this"
    And it took less than 30 s

  @L044
  Scenario: The pid is known from the start and stays the same in every state
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"layers": 4, "pauseAtLayer": 2, "pauseAtWord": 3}
      """
    When I ask the hive for a worker:
      """
      {"model": "builtin:honeycomb", "backend": "cpu", "slots_total": 1}
      """
    Then the worker is "loading" under the pid of a live process
    When the workers go on
    Then the worker is "idle" under the same pid
    When I post this task in the background:
      """
      {"prompt": "Hello"}
      """
    And the open stream has come to a token
    Then the worker is "busy" under the same pid
    When the workers go on
    Then the open stream ends with "end"
    And the worker is "idle" under the same pid

  @L045 @L055
  Scenario: A worker that neither obeys nor ends is killed
    Given the time limit shutdown_ack is 200ms
    And the time limit kill is 500ms
    And a hive runs whose workers follow this script:
      """
      {"stubborn": true}
      """
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I post to the hive's /v1/workers/<noted worker>/shutdown:
      """
      {}
      """
    Then the answer is 202
    And the hive lists no worker
    And the log of the ended worker shows "SIGTERM is ignored"
    And the force-kill of the worker is recorded with its pid, SIGKILL and "no answer, and no end on SIGTERM"
    And the worker's process is gone

  @L046 @L056
  Scenario: A worker that is shut down finishes its job and takes no other
    Given a queen and a hive run
    And a made model "endless.gguf" that never ends
    And an idle worker for "file://<home>/.local/share/rbee/models/endless.gguf" with 2 slots
    When I post this task in the background:
      """
      {"model": "file://<home>/.local/share/rbee/models/endless.gguf", "template": "none", "prompt": "go", "temperature": 0, "max_tokens": 3000}
      """
    And the worker is held at its first token
    And I post to the hive's /v1/workers/<noted worker>/shutdown:
      """
      {}
      """
    And another job is sent to the worker itself
    And the worker moves again
    Then the other job is refused with 503 WORKER_DRAINING
    And the open stream ends with "end"
    And the end of the stream has:
      """
      {"tokens_out": 3000, "stop_reason": "MAX_TOKENS"}
      """
    And the hive lists no worker
    And the worker's process ended with the code 0
    And no force-kill was logged

  @L057
  Scenario: SIGTERM with two jobs in flight
    Given a queen and a hive run
    And I watch the hive's events
    And a made model "endless.gguf" that never ends
    And an idle worker for "file://<home>/.local/share/rbee/models/endless.gguf" with 2 slots
    When two jobs run on the worker
    And the worker gets SIGTERM
    And the worker moves again
    Then both jobs end well
    And the hive was told that the worker is draining
    And the worker's process ended with the code 0
    And no force-kill was logged

  @L047 @L053 @L055
  Scenario: A process that lives without answering is killed and started again
    Given the time limit health_poll is 300ms
    And the time limit health_call is 1500ms
    And the time limit restart_wait is 100ms
    And lost workers are started again
    And a hive runs
    And an idle worker for "builtin:honeycomb" with 3 slots
    When the worker stands still
    Then another worker takes its place:
      """
      {"restart_count": 1, "slots_total": 3, "state": "idle", "model_ref": "builtin:honeycomb"}
      """
    And the worker's process is gone
    And the force-kill of the worker is recorded with its pid, SIGKILL and "3 health checks failed in a row"

  @L048
  Scenario: A worker that never reports itself
    Given the time limit worker_startup is 1000ms
    And a hive runs whose workers follow this script:
      """
      {"silent": true, "stubborn": true}
      """
    When I run `rbee-keeper infer --node localhost --prompt "hello"`
    Then the exit code is 1
    And stderr shows "did not report within 1 s of its start"
    And the hive lists no worker
    And no worker process is left
    And the force-kill of a worker is recorded with "no callback after its start"

  @L049 @L051
  Scenario: Five workers that obey are stopped at the same time
    Given a hive runs whose workers follow this script:
      """
      {}
      """
    And 5 idle workers
    When the hive gets SIGTERM
    Then the hive ends with the exit code 0 within 15 s
    And its log shows "stopping 5 workers"
    And its log shows "worker 1/5 has stopped"
    And its log shows "worker 5/5 has stopped"
    And its log shows "all 5 workers have stopped"
    And no process is left
    And no force-kill was logged

  @L050 @L052
  Scenario: Those that hang are killed when the time for the shutdown is up
    Given the time limit hive_shutdown is 3000ms
    And the time limit shutdown_ack is 1000ms
    And a hive runs whose workers follow this script:
      """
      {}
      """
    And 3 idle workers
    When one of the workers stands still
    And the hive gets SIGTERM
    Then the hive ends with the exit code 0 within 6 s
    And its log shows "worker 3/3 has stopped"
    And exactly 1 force-kill is recorded, with "the time for the shutdown is up"
    And no process is left
    And no run file of a worker is left

  @L053 @L054 @L052
  Scenario: A crash is noticed at once, recorded, and leaves nothing behind
    Given a hive runs
    And I watch the hive's events
    And an idle worker for "builtin:honeycomb" with 1 slot
    When the worker gets SIGKILL
    Then the hive lists no worker
    And the hive narrates "worker_crash" with the pid of the worker and "signal SIGKILL"
    And GET /v1/workers/<noted worker> of the hive answers at least:
      """
      {"state": "failed", "last_error": {"code": "WORKER_CRASHED", "details": {"signal": "SIGKILL"}}}
      """
    And the worker's entry has no pid any more
    And the worker's process is gone
    And no run file of a worker is left
    And the crash is in the file of crashes

  @L058
  Scenario: Spawns and stops at the same time
    Given a hive runs whose workers follow this script:
      """
      {}
      """
    And 5 idle workers
    When 3 workers are stopped while 2 are started
    Then the hive lists 4 workers with:
      """
      {"state": "idle"}
      """
    And there is exactly one process for each listed worker

  @L071
  Scenario: The workers of a killed hive go on and belong to the next one
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 3 slots
    When the hive is killed and started again
    Then the hive lists 1 worker with:
      """
      {"id": "<noted worker>", "state": "idle", "slots_total": 3, "owned": true}
      """
    When I post this task:
      """
      {"prompt": "write a short story", "temperature": 0}
      """
    Then the stream assigns the noted worker as reused
    And the text of the stream is the greedy story, up to float noise
    When the hive gets SIGTERM
    Then the hive ends with the exit code 0
    And the worker's process is gone

  @L071
  Scenario: A job does not notice that its hive was killed
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 5}
      """
    When I post this task in the background:
      """
      {"prompt": "Hello"}
      """
    And the open stream has come to a token
    And the hive is killed and started again
    Then the hive lists 1 worker with:
      """
      {"state": "idle", "slots_available": 3, "owned": true}
      """
    When the workers go on
    Then the open stream ends with "end"
    And the text of the stream is "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
    And the tokens of the stream are numbered from 0 without a gap

  @L071
  Scenario: A queen starts its killed hive again and finds the worker there
    Given a queen runs
    When I post this task:
      """
      {"prompt": "Hello", "max_tokens": 8}
      """
    And the hive that the queen started is killed
    And the queen knows that no hive runs
    And I post this task:
      """
      {"prompt": "write a short story", "temperature": 0}
      """
    Then the text of the stream is the greedy story, up to float noise
    And the worker that answered is still the only one
    When the queen gets SIGTERM
    Then no process is left

  Scenario: A queen that ends after its hive was killed leaves no worker behind
    Given a queen runs
    When I post this task:
      """
      {"prompt": "Hello", "max_tokens": 8}
      """
    And the hive that the queen started is killed
    And the queen gets SIGTERM
    Then no process is left

  @L079
  Scenario: A worker that cannot be reached gets no work, and gets some again when it is back
    Given the time limit health_poll is 300ms
    And the time limit health_call is 1500ms
    And a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When the worker stands still
    And the hive lists 1 worker with:
      """
      {"state": "unhealthy"}
      """
    And the worker moves again
    Then the hive lists 1 worker with:
      """
      {"state": "idle", "failed_health_checks": 0}
      """
    When I post this task:
      """
      {"prompt": "Hello", "max_tokens": 8}
      """
    Then the stream assigns the noted worker as reused
    And the stream ends with "end"

  Scenario: An engine that stands still is found out by a canary and replaced
    Given the time limit canary is 500ms
    And the time limit canary_answer is 700ms
    And a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 3 slots
    When the worker stands still
    Then another worker takes its place:
      """
      {"restart_count": 1, "slots_total": 3, "state": "idle"}
      """
    And the worker was found out within 1200 ms
    And the worker's process is gone
    And the force-kill of the worker is recorded with its pid, SIGKILL and "no answer to a canary"
    When I post this task:
      """
      {"prompt": "write a short story", "temperature": 0}
      """
    Then the text of the stream is the greedy story, up to float noise

  Scenario: A job on an engine that stands still goes on elsewhere
    Given the time limit canary is 500ms
    And the time limit canary_answer is 1000ms
    And a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 2 slots
    When I post this task in the background:
      """
      {"prompt": "write a short story", "temperature": 0}
      """
    And the worker is held at its first token
    Then the open stream ends with "end"
    And the text of the stream is the greedy story, up to float noise
    And the tokens of the stream are numbered from 0 without a gap
    And the force-kill of the worker is recorded with its pid, SIGKILL and "no answer to a canary"
    And the hive lists 1 worker with:
      """
      {"state": "idle", "restart_count": 1}
      """

  Scenario: Canaries cost a worker nothing
    Given the time limit canary is 100ms
    And the time limit canary_answer is 2000ms
    And a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I post this task:
      """
      {"prompt": "write a short story", "temperature": 0}
      """
    Then the text of the stream is the greedy story, up to float noise
    And the stream assigns the noted worker as reused
    And the workers of the hive are the noted ones

  Scenario: A hive that was stopped for a while does not take its workers for dead
    Given the time limit health_poll is 200ms
    And the time limit health_call is 1500ms
    And the time limit canary is 200ms
    And the time limit canary_answer is 1500ms
    And a hive runs
    And an idle worker for "builtin:honeycomb" with 1 slot
    When the hive stands still for 8000 ms
    Then its last activity is renewed
    And the workers of the hive are the noted ones
    And no force-kill was logged
