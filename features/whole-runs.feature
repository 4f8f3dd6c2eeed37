Feature: One run, seen from end to end

  @L074
  Scenario: A worker that the hive started is found and used by the queen
    Given a queen and a hive run
    When I ask the hive for a worker:
      """
      {"model": "builtin:honeycomb", "backend": "cpu"}
      """
    Then the hive lists 1 worker with:
      """
      {"model_ref": "builtin:honeycomb", "state": "idle"}
      """
    And the queen lists the worker of the hive as "idle"
    Given the workers of the hive are noted
    When I post this task:
      """
      {"prompt": "write a short story", "max_tokens": 8, "temperature": 0}
      """
    Then the stream assigns the noted worker as reused
    And the stream ends with "end"

  @L085
  Scenario: Queen, hive and worker tell of one run under one correlation id
    Given a queen and a hive run
    When I post this task:
      """
      {"job_id": "job-cold", "prompt": "write a short story", "max_tokens": 20, "temperature": 0}
      """
    Then the stream ends with "end"
    And the stream is narrated by "queen-rbee, rbee-hive, llm-worker-rbee" under one correlation id
    And the logs of queen, hive and worker have that correlation id
    When I post this task:
      """
      {"job_id": "job-warm", "prompt": "write a short story", "max_tokens": 20, "temperature": 0}
      """
    Then the stream ends with "end"
    And the end of the stream counts its tokens and its time
    And the stream took less than 10 s

  @L089
  Scenario: What the worker refuses reaches the client unchanged, with an id by which it can be traced
    Given a queen and a hive run
    And an idle worker for "builtin:honeycomb" with 1 slot
    When I post this task for JSON:
      """
      {"prompt": "Hello", "max_tokens": 5000}
      """
    Then the answer is 400 with the code CONTEXT_LENGTH_EXCEEDED
    And the answer's details have:
      """
      {"max_tokens": 5000, "context_size": 1024}
      """
    And the error is the one that the worker gives for:
      """
      {"prompt": "Hello", "max_tokens": 5000}
      """
    And the worker's log has the correlation id of the answer

  @L070
  Scenario: A worker that falls silent with a job keeps it, gets no other, and goes on when it answers
    Given the time limit heartbeat_stale is 500ms
    And the time limit health_call is 300ms
    And a queen and a hive run
    And a made model "endless.gguf" that never ends
    And an idle worker for "file://<home>/.local/share/rbee/models/endless.gguf" with 4 slots
    When I post this task in the background:
      """
      {"job_id": "job-silent", "model": "file://<home>/.local/share/rbee/models/endless.gguf", "template": "none", "prompt": "go"}
      """
    And the open stream has come to a token
    And the worker stands still
    Then the queen lists the worker of the hive as "stale-but-busy"
    When the worker moves again
    Then the queen lists the worker of the hive as "idle"
    And the open stream goes on with tokens
    When I cancel the task "job-silent"
    Then the open stream ends with "error"
