Feature: A model is loaded

  Background:
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"layers": 32, "pauseAtLayer": 12, "vramMb": 2048}
      """

  @S30
  Scenario: While it loads, a worker is not ready and says where its progress is
    When I post this task in the background:
      """
      {"prompt": "Hello"}
      """
    And the open stream shows the progress of loading
    Then GET /v1/ready of the worker answers at least:
      """
      {"ready": false, "state": "loading"}
      """
    And its progress_url gives a stream of progress
    When the workers go on
    Then the open stream ends with "end"

  @S31
  Scenario: Progress tells layers and memory, and ends with ready
    When I ask the hive for a worker:
      """
      {"model": "builtin:honeycomb", "backend": "cpu"}
      """
    And I read the worker's loading progress in the background
    And the workers go on when the progress shows layer 12
    Then the loading progress tells:
      | layers | total | megabytes |
      | 12     | 32    | 768       |
      | 32     | 32    | 2048      |
    And the loading progress ends with ready and [DONE]

  @S31
  Scenario: The user sees a bar
    When I start `rbee-keeper infer --prompt "hello"` on a terminal
    Then the terminal shows /layers? 12 of 32|12\/32/
    When the workers go on
    Then the exit code is 0

  @S32
  Scenario: After loading, the worker is ready and inference follows
    When I post this task in the background:
      """
      {"prompt": "Hello"}
      """
    And the open stream shows the progress of loading
    And the workers go on
    Then the open stream ends with "end"
    And GET /v1/ready of the worker answers at least:
      """
      {"ready": true, "state": "idle", "model_loaded": true}
      """
    And the text of the stream starts with "one two three"
