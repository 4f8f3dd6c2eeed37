Feature: Who starts what, and who ends it

  @S50
  Scenario: A task on running daemons leaves them running
    Given a queen and a hive run
    When I run `rbee-keeper infer --prompt "Hello"`
    Then the exit code is 0
    And the queen still runs
    And the hive still runs
    And the hive lists 1 worker with:
      """
      {"state": "idle"}
      """

  @S51
  Scenario: With nothing running, everything is started and everything ends
    When I start `rbee-keeper infer --prompt "write a short story"`
    Then the keeper starts a queen, the queen a hive and the hive a worker
    And the exit code is 0
    And stdout is a story
    And no process is left

  @S52
  Scenario: With daemons running, none is started
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 4 slots
    When I run `rbee-keeper infer --prompt "Hello"`
    Then the exit code is 0
    And no further daemon was started
    And the queen still runs
    And the hive still runs
    And the workers of the hive are the noted ones

  Scenario: Two keepers at once share one queen
    When I start `rbee-keeper infer --prompt "write a short story"` twice at once
    Then both exit codes are 0
    And both wrote a story
    And no process is left

  Scenario: An operator's hive outlives a queen that a keeper started
    Given a hive runs
    When I run `rbee-keeper infer --prompt "Hello"`
    Then the exit code is 0
    And the hive still runs
    And no queen is running

  Scenario: A worker started by hand is used
    Given a queen and a hive run
    When I start `llm-worker-rbee --worker-id worker-by-hand --port <first worker port> --callback-url http://127.0.0.1:<hive port>`
    Then the hive lists 1 worker with:
      """
      {"worker_id": "worker-by-hand", "state": "idle"}
      """
    When I run `rbee-keeper infer --prompt "Hello" --temperature 0`
    Then the exit code is 0
    And stdout is "Hi! I am Honeycomb. What can I do for you?"
    And the hive lists 1 worker with:
      """
      {"worker_id": "worker-by-hand", "state": "idle"}
      """
