Feature: GGUF files

  @S19
  Scenario: A file is recognised by its extension and its magic, and loaded by the engine
    Given a queen and a hive run
    And the bundled model copied as "copy.gguf" into the models folder
    And the bundled model copied as "copy.bin" into the models folder
    And a file "text.gguf" in the models folder that says "this is no model"
    When I post this task:
      """
      {"node": "localhost", "model": "file://<home>/.local/share/rbee/models/copy.gguf", "prompt": "Hello", "temperature": 0}
      """
    Then the stream ends with "end"
    And the text of the stream is "Hi! I am Honeycomb. What can I do for you?"
    And the catalog's facts of "file://<home>/.local/share/rbee/models/copy.gguf" are:
      """
      {"architecture": "llama", "layers": 6, "context_length": 1024, "vocab_size": 2048, "eos_token_id": 2047, "quantization": "Q4_K_M", "has_chat_template": true}
      """
    When I post this task for JSON:
      """
      {"node": "localhost", "model": "file://<home>/.local/share/rbee/models/copy.bin", "prompt": "Hello"}
      """
    Then the answer is 400 with the code UNSUPPORTED_MODEL_FORMAT
    When I post this task for JSON:
      """
      {"node": "localhost", "model": "file://<home>/.local/share/rbee/models/text.gguf", "prompt": "Hello"}
      """
    Then the answer is 400 with the code UNSUPPORTED_MODEL_FORMAT

  @S20
  Scenario: The header's vocabulary and end-of-sequence token are read and used
    Given a queen and a hive run
    And a made model "made.gguf" with a vocabulary of 32000 and the end-of-sequence token 2
    When I post this task:
      """
      {"node": "localhost", "model": "file://<home>/.local/share/rbee/models/made.gguf", "prompt": "hello", "template": "none", "temperature": 0}
      """
    Then the stream ends with "end"
    And the text of the stream is " done"
    And the end of the stream has:
      """
      {"tokens_out": 1, "stop_reason": "EOS"}
      """
    And the catalog's facts of "file://<home>/.local/share/rbee/models/made.gguf" are:
      """
      {"architecture": "llama", "layers": 1, "context_length": 256, "vocab_size": 32000, "eos_token_id": 2, "quantization": "Q4_K_M", "has_chat_template": false}
      """

  @S21
  Scenario: Q4_K_M, Q5_K_M and Q8_0 files load and generate, and need memory in that order
    Given a queen and a hive run
    Then these models generate, each with more memory mapped than the one before:
      | builtin:honeycomb:q4_k_m |
      | builtin:honeycomb:q5_k_m |
      | builtin:honeycomb:q8_0   |

  @S22
  Scenario: A model's size is the size of its file
    Given a queen and a hive run
    And a made model "sized.gguf" of 500 MB
    When I post this task:
      """
      {"node": "localhost", "model": "file://<home>/.local/share/rbee/models/sized.gguf", "prompt": "Hello"}
      """
    Then the stream ends with "end"
    And the catalog's size of "file://<home>/.local/share/rbee/models/sized.gguf" is that of "sized.gguf"
    And the narration "ram_check" mentions "600 MB needed"
