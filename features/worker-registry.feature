Feature: The workers of a hive

  @S09
  Scenario: The list of an empty hive is an empty array, and a task goes on to the preflight
    Given a hive runs
    Then GET /v1/workers/list of the hive answers exactly {"workers":[]}
    Given a queen runs
    Then GET /v2/workers/list of the queen answers exactly {"workers":[]}
    When I post this task:
      """
      {"node": "localhost", "prompt": "write a short story", "max_tokens": 8}
      """
    Then the stream narrates "hive_preflight" before "worker_spawn"
    And the stream ends with "end"

  @S10
  Scenario: A matching idle worker takes the job at once
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I post this task:
      """
      {"node": "localhost", "model": "builtin:honeycomb", "prompt": "Hello"}
      """
    Then the stream assigns the noted worker as reused
    And the stream does not narrate "hive_preflight"
    And the stream does not narrate "worker_spawn"
    And the stream ends with "end"

  @S11
  Scenario: A matching busy worker is asked all the same, and its 503 is handled
    Given the time limit busy_retry is 100ms
    And a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtWord": 3}
      """
    And an idle worker for "builtin:honeycomb" with 1 slot
    And the only slot is taken by somebody else
    When I post this task in the background:
      """
      {"node": "localhost", "model": "builtin:honeycomb", "prompt": "Hello"}
      """
    Then the open stream narrates "retry"
    When the workers go on
    And the workers go on when the task has started
    Then the open stream ends with "end"
    And the stream assigns the noted worker as reused
    And the stream does not narrate "hive_preflight"
