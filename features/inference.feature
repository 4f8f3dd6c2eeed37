Feature: Inference on one machine

  @S08
  Scenario: A warm start uses the worker that is there
    Given a queen and a hive run
    When I run `rbee-keeper infer --node localhost --prompt "write a short story"`
    Then the exit code is 0
    Given the workers of the hive are noted
    When I run `rbee-keeper infer --node localhost --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story
    And it took less than 5 s
    And the workers of the hive are the noted ones
    And stderr does not show "preflight|starting a worker|starting one|looking at|download|found |checking that"

  @S34
  Scenario: Tokens come in order, as they are made
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    And I watch the hive's events
    When I post this task:
      """
      {"prompt": "write a short story", "temperature": 0}
      """
    Then the answer is 200 with the content type "text/event-stream"
    And the tokens of the stream are numbered from 0 without a gap
    And the stream ends with "end"
    And the end of the stream has:
      """
      {"stop_reason": "EOS"}
      """
    And the end of the stream counts its tokens and its time
    And the stream tells in order: accepted,worker,started,token,end
    And the stream's last frame is [DONE]
    And the tokens of the stream did not come all at once
    And the text of the stream is the greedy story
    And the noted worker was idle, busy, idle
    When I run `rbee-keeper infer --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    And stdout came in many pieces

  @S35
  Scenario: A busy worker is asked three times more, then the task fails with advice
    Given the time limit busy_retry is 60ms
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    And an idle worker for "builtin:honeycomb" with 1 slot
    And the only slot is taken by somebody else
    When I post this task:
      """
      {"prompt": "Hello"}
      """
    Then the stream ends with "error"
    And the error of the stream is 503 ALL_SLOTS_BUSY with:
      """
      {"slots_total": 1, "slots_busy": 1}
      """
    And the stream narrates "retry" with waits of "60, 120, 240" ms
    And the stream took at least 420 ms
    And the suggestion of the error shows "wait|another"
    When I run `rbee-keeper infer --prompt "hello"`
    Then the exit code is 1
    And stdout is empty

  @S41
  Scenario: The only slot is taken: the user sees three waits and what to do
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    And an idle worker for "builtin:honeycomb" with 1 slot
    And the only slot is taken by somebody else
    When another job is sent to the worker itself
    Then the other job is refused with 503 ALL_SLOTS_BUSY
    When I run `rbee-keeper infer --prompt "hello"`
    Then the exit code is 1
    And it took at least 7 s
    And stdout is empty
    And stderr tells in order:
      | retry 1 of 3 in 1 s |
      | retry 2 of 3 in 2 s |
      | retry 3 of 3 in 4 s |
      | ALL_SLOTS_BUSY      |
      | Wait                |

  @S40
  Scenario Outline: Ctrl+C while the answer comes
    Given a queen and a hive run
    And what I ask the queen is noted on its way
    And a made model "endless.gguf" that never ends
    When I start `rbee-keeper infer <flags> --model file://<home>/.local/share/rbee/models/endless.gguf --raw --prompt "go" --temperature 0`
    And it has written to stdout
    And I press Ctrl+C
    Then the exit code is 130
    And it ended within 5 s of Ctrl+C
    And the queen was asked for DELETE /v2/tasks/*
    And stdout ends with a line break
    And stderr shows "Canceled"
    And the worker has all its slots free and is idle
    And the log of the worker shows "cancel"

    Examples: what a closed connection does by itself does not end a task that is to be kept
      | flags                |
      |                      |
      | --on-disconnect keep |

  @L083
  Scenario: A task is cancelled by its id, as often as one likes
    Given a queen and a hive run
    And a made model "endless.gguf" that never ends
    When I cancel the task "job-endless"
    And I post this task in the background:
      """
      {"job_id": "job-endless", "model": "file://<home>/.local/share/rbee/models/endless.gguf", "template": "none", "prompt": "go", "temperature": 0}
      """
    And the open stream has come to a token
    And I cancel the task "job-endless"
    Then the worker has all its slots free and is idle
    And the open stream ends with "error"
    And the error of the stream is 499 CANCELLED with:
      """
      {"job_id": "job-endless"}
      """
    When I cancel the task "job-endless"
    And I post this task:
      """
      {"job_id": "job-next", "prompt": "Hello", "timeout_seconds": 60}
      """
    Then the stream ends with "end"

  Scenario: One id leads through all logs, and no key does
    Given a queen and a hive run
    When I post this task:
      """
      {"prompt": "Hello"}
      """
    Then the stream ends with "end"
    And the stream's correlation id is in the logs of queen, hive and worker
    And the key of the worker is in no log and in no process list

  Scenario: A keeper that is killed frees its slot
    Given a queen and a hive run
    And a made model "endless.gguf" that never ends
    When I start `rbee-keeper infer --model file://<home>/.local/share/rbee/models/endless.gguf --raw --prompt "go" --temperature 0`
    And it has written to stdout
    And I kill it
    Then the worker has all its slots free and is idle

  Scenario: Greedy text is the engine's own
    Given a queen and a hive run
    When I run `rbee-keeper infer --prompt "Write a poem about a cat." --temperature 0`
    Then the exit code is 0
    And stdout is what the engine alone makes of "Write a poem about a cat."

  Scenario: Eight at once on four slots
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 4 slots
    Then these prompts at once give what each gives alone, up to float noise:
      | write a short story                        |
      | Write a poem about a cat.                  |
      | Hello                                      |
      | Who are you?                               |
      | What is the capital of France?             |
      | What is 7 + 5?                             |
      | My name is Zibo. What is my name?          |
      | Tell me a long story about a bear.         |
    And the hive lists 1 worker with:
      """
      {"slots_total": 4, "state": "idle"}
      """

  Scenario: The second turn of a conversation costs its new tokens only
    Given a queen and a hive run
    When I converse with `rbee-keeper chat --json`:
      """
      My name is Zibo.
      What is my name?
      """
    Then the second answer reports at least as many cached tokens as the first turn's prompt had

  Scenario Outline: The status line tells the truth to a plain HTTP client
    Given a queen and a hive run
    When I post this task for JSON:
      """
      <task>
      """
    Then the answer is <status> with the code <code>

    Examples:
      | task                                                                    | status | code                    |
      | {"prompt": ""}                                                          | 400    | INVALID_REQUEST         |
      | {"prompt": "hi", "backend": "abacus"}                                   | 400    | INVALID_BACKEND         |
      | {"prompt": "hi", "device": -1}                                          | 400    | INVALID_DEVICE          |
      | {"prompt": "hi", "device": 7}                                           | 400    | INVALID_DEVICE          |
      | {"prompt": "hi", "model": "honeycomb"}                                  | 400    | INVALID_MODEL_REF       |
      | {"prompt": "hi", "model": "builtin:wasp"}                               | 404    | MODEL_NOT_FOUND         |
      | {"prompt": "hi", "max_tokens": 5000}                                    | 400    | CONTEXT_LENGTH_EXCEEDED |
      | {"prompt": "hi", "model": "file:///etc/passwd"}                         | 400    | INVALID_PATH            |
      | {"prompt": "hi", "timeout_seconds": 0.001}                              | 408    | REQUEST_TIMEOUT         |
