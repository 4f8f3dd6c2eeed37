Feature: A task has one deadline, and every process keeps to it

  @L155 @L157
  Scenario: A deadline that passes while the answer comes ends it in every process
    Given a queen and a hive run
    And a made model "endless.gguf" that never ends
    And an idle worker for "file://<home>/.local/share/rbee/models/endless.gguf" with 1 slot
    When I run `rbee-keeper infer --model file://<home>/.local/share/rbee/models/endless.gguf --raw --prompt "go" --temperature 0 --timeout 1s`
    Then the exit code is 1
    And stdout is not empty
    And stderr shows "REQUEST_TIMEOUT"
    And stderr shows "--timeout 10m"
    And the worker has all its slots free and is idle
    And the log of the worker shows "stopped after"

  @L154 @L155
  Scenario: A deadline that passes while a worker is started ends the task, and the worker is there for the next one
    Given a queen runs
    And a hive runs whose workers follow this script:
      """
      {"pauseAtLayer": 16}
      """
    When I post this task in the background:
      """
      {"prompt": "hello", "timeout_seconds": 10}
      """
    Then the open stream shows the progress of loading
    And the open stream ends with "error"
    And the error of the stream is 408 REQUEST_TIMEOUT with:
      """
      {"tokens_out": 0}
      """
    And the error of the stream names the deadline of 10 s after the task was posted
    When the workers go on
    And I post this task:
      """
      {"prompt": "hello"}
      """
    Then the stream ends with "end"
    And the hive lists 1 worker with:
      """
      {"state": "idle"}
      """

  @L156
  Scenario: Who asks for no stream gets the deadline in the envelope
    Given a queen and a hive run
    And a made model "endless.gguf" that never ends
    And an idle worker for "file://<home>/.local/share/rbee/models/endless.gguf" with 1 slot
    When I post this task for JSON:
      """
      {"model": "file://<home>/.local/share/rbee/models/endless.gguf", "template": "none", "prompt": "go", "temperature": 0, "stream": false, "timeout_seconds": 1}
      """
    Then the answer is 408 with the code REQUEST_TIMEOUT
    And the answer names the deadline of 1 s after the task was posted

  @L158
  Scenario: A deadline in the header that is later than the task's own is none
    Given a queen and a hive run
    And a made model "endless.gguf" that never ends
    And an idle worker for "file://<home>/.local/share/rbee/models/endless.gguf" with 1 slot
    When I post this task with the deadline in 60 s:
      """
      {"model": "file://<home>/.local/share/rbee/models/endless.gguf", "template": "none", "prompt": "go", "temperature": 0, "timeout_seconds": 1}
      """
    Then the error of the stream is 408 REQUEST_TIMEOUT with:
      """
      {}
      """
    And the error of the stream names the deadline of 1 s after the task was posted
    And the log of the queen shows "a deadline header later than the task's own was ignored"

  @L159
  Scenario: A task without a deadline gets the default, which its worker knows as well
    Given the time limit inference is 1500ms
    And a queen and a hive run
    And a made model "endless.gguf" that never ends
    And an idle worker for "file://<home>/.local/share/rbee/models/endless.gguf" with 1 slot
    When I post this task:
      """
      {"model": "file://<home>/.local/share/rbee/models/endless.gguf", "template": "none", "prompt": "go", "temperature": 0}
      """
    Then the error of the stream is 408 REQUEST_TIMEOUT with:
      """
      {}
      """
    And the stream took at least 1400 ms
    And the worker has all its slots free and is idle
    And the log of the worker shows "stopped after"
