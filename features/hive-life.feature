Feature: The life of a hive

  @S46
  Scenario: A hive stays up, polls health, ends idle workers and takes new ones
    Given the time limit health_poll is 100ms
    And the time limit health_call is 200ms
    And the time limit idle_worker is 1500ms
    And a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When the worker stands still
    Then the hive lists 1 worker with:
      """
      {"state": "unhealthy"}
      """
    When the worker moves again
    Then the hive lists 1 worker with:
      """
      {"state": "idle", "failed_health_checks": 0}
      """
    And the hive lists no worker
    And the worker's process is gone
    And GET /v1/health of the hive answers at least:
      """
      {"status": "alive"}
      """
    When I post this task:
      """
      {"prompt": "Hello"}
      """
    Then the stream ends with "end"

  @S49
  Scenario: SIGTERM to a hive with three workers
    Given a hive runs
    And an idle worker for "builtin:honeycomb:q4_k_m" with 1 slot
    And an idle worker for "builtin:honeycomb:q5_k_m" with 1 slot
    And an idle worker for "builtin:honeycomb:q8_0" with 1 slot
    When the hive gets SIGTERM
    Then the hive ends with the exit code 0
    And its log shows "stopping 3 workers"
    And its log shows "worker 3/3 has stopped"
    And its log shows "all 3 workers have stopped"
    And the log of each noted worker shows "shutting down (request)"
    And no process is left
    And no run file of a worker is left
    And no force-kill was logged
    And the catalog file exists
