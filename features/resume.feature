Feature: An answer outlives the worker that makes it

  @L086 @L087
  Scenario Outline: A worker that is killed in mid-answer is replaced by another one, and no word is missing or told twice
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 2 slots
    And an idle worker for "builtin:honeycomb" with 4 slots
    When I post this task in the background:
      """
      {"prompt": "Tell me a long story about a bear.", "temperature": 0}
      """
    And the worker of the open stream is killed at token <token>
    Then the open stream ends with "end"
    And the stream was resumed at another worker within 5 s
    And the answer of the stream to "Tell me a long story about a bear." is whole
    And neither queen nor hive list the lost worker

    Examples:
      | token |
      | 0     |
      | 13    |
      | 60    |

  Scenario: Where there is no other worker, one is started, and the user reads one answer
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 4 slots
    When I start `rbee-keeper infer --prompt "write a short story" --temperature 0`
    And the worker of the keeper is killed once it has written "upon"
    Then the exit code is 0
    And stdout is the greedy story, up to float noise
    And stderr shows "going on"
    And stderr matches /done: \d+ tokens, the last \d+ in/
    And neither queen nor hive list the lost worker

  Scenario: A worker that is told to end in mid-answer gives the rest of it to another one
    Given the time limit drain is 1ms
    And a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 2 slots
    And an idle worker for "builtin:honeycomb" with 4 slots
    When I post this task in the background:
      """
      {"prompt": "Tell me a long story about a bear.", "temperature": 0}
      """
    And the worker of the open stream is told to end at token 5
    Then the open stream ends with "end"
    And the answer of the stream to "Tell me a long story about a bear." is whole

  @L080
  Scenario: A worker that stands still is left
    Given the time limit stall is 1000ms
    And a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 2 slots
    And an idle worker for "builtin:honeycomb" with 4 slots
    When I post this task in the background:
      """
      {"prompt": "Tell me a long story about a bear.", "temperature": 0}
      """
    And the worker of the open stream stands still at token 5
    Then the open stream ends with "end"
    And the stream was resumed at another worker within 5 s
    And the answer of the stream to "Tell me a long story about a bear." is whole

  @L080
  Scenario: Who does not want to go on elsewhere is told that no token comes any more
    Given the time limit stall is 1000ms
    And a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 4 slots
    And I post this task in the background:
      """
      {"prompt": "Tell me a long story about a bear.", "temperature": 0, "resume": false}
      """
    When the worker of the open stream stands still at token 5
    Then the open stream ends with "error"
    And the error of the stream is 408 INFERENCE_TIMEOUT with:
      """
      {"limit_ms": 1000}
      """

  @S39
  Scenario: The worker dies while the answer comes, and the user wants no other one
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"crashAtWord": 12, "trickleMs": 20}
      """
    When I run `rbee-keeper infer --no-resume --max-tokens 20 --prompt "hello"`
    Then the exit code is 1
    And stdout shows "one two three four five six seven eight nine ten eleven twelve"
    And stdout does not show "thirteen"
    And stdout ends with a line break
    And stderr shows "rbee-partial-"
    And the partial file that stderr names holds what stdout has, for me alone
    And stderr matches /Error: the worker ended with [^\n]*, after 12 \/ 20 tokens\n/
    And stderr shows "Without --no-resume an answer goes on at another worker"
    And its log shows "crash"
    And the hive lists no worker

  @S39
  Scenario: The worker dies and told too little for another one to go on
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"crashAtWord": 12, "trickleMs": 20}
      """
    When I post this task:
      """
      {"prompt": "hello"}
      """
    Then the stream ends with "error"
    And the error of the stream is 500 WORKER_CRASHED with:
      """
      {"tokens_out": 12, "resume": "RESUME_IMPOSSIBLE"}
      """
    And the text of the stream is "one two three four five six seven eight nine ten eleven twelve"

  @L059 @L060 @L087
  Scenario: A killed worker is told of within 5 s to those who want no other one, and the next task is served
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 4 slots
    When I post this task in the background:
      """
      {"prompt": "Tell me a long story about a bear.", "temperature": 0, "resume": false}
      """
    And the worker of the open stream is killed at token 5
    Then the open stream ends within 5 s of the loss
    And the open stream ends with "error"
    And the error of the stream says that the request may be repeated
    And neither queen nor hive list the lost worker
    When I post this task:
      """
      {"prompt": "write a short story", "temperature": 0}
      """
    Then the stream ends with "end"
    And the text of the stream is the greedy story, up to float noise

  Scenario: The answer goes on on another machine
    Given a node "attic" over SSH
    And a queen runs
    And an idle worker for "builtin:honeycomb" on attic
    When I post this task in the background:
      """
      {"prompt": "Tell me a long story about a bear.", "temperature": 0}
      """
    And the open stream has come to a token
    And the machine's SSH server is stopped
    Then the open stream ends with "end"
    And the stream was resumed on localhost
    And the answer of the stream to "Tell me a long story about a bear." is whole

  Scenario: A connection to a machine that is cut is made anew, and the answer goes on there
    Given a node "attic" over SSH
    And a queen runs
    And an idle worker for "builtin:honeycomb" on attic
    When I post this task in the background:
      """
      {"node": "attic", "prompt": "Tell me a long story about a bear.", "temperature": 0}
      """
    And the open stream has come to a token
    And the connection to the machine is cut
    Then the open stream ends with "end"
    And the stream was resumed on attic
    And the answer of the stream to "Tell me a long story about a bear." is whole
    And the hive lists 1 worker with:
      """
      {"state": "idle"}
      """
