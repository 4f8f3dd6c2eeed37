Feature: The hive is looked at before work is given to it

  @S12
  Scenario: A reachable hive is alive and has the right version
    Given a queen and a hive run
    Then GET /v1/health of the hive answers at least:
      """
      {"status": "alive", "version": "0.1.0", "api_version": "v1"}
      """
    When I post this task:
      """
      {"node": "localhost", "prompt": "Hello"}
      """
    Then the stream narrates "hive_preflight" before "worker_spawn"
    And the narration "hive_preflight" mentions "0.1.0"
    And the stream ends with "end"
