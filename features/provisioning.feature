Feature: Models are found before they are loaded

  @S15
  Scenario: A model of the catalog is used from its local path
    Given a queen and a hive run
    Then the catalog has "builtin:honeycomb" at a local path that exists
    When I post this task:
      """
      {"node": "localhost", "model": "builtin:honeycomb", "prompt": "Hello"}
      """
    Then the stream has no progress of a download
    And the stream narrates "model_found" before "worker_preflight"
    And the stream narrates "worker_preflight" before "worker_start"
    And the stream ends with "end"
