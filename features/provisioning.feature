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

  @S07
  Scenario: Nothing runs and nothing is there: each step is taken and told, down to the last token
    Given a machine with 8000 MB of free memory and the backends "cpu, cuda"
    And the hub has "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF" with the file "tinyllama.Q4_K_M.gguf"
    And the hub sends 3000 KB a second
    And a node "workstation" over SSH whose workers follow this script:
      """
      {"layers": 32, "pauseAtLayer": 24, "vramMb": 2048}
      """
    And a queen runs
    Then nothing runs on the machine after at most 0 s
    When I start `rbee-keeper infer --node workstation --model hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF --prompt "write a short story" --max-tokens 20 --temperature 0.7 --backend cuda --device 1`
    Then stderr comes to show "layers 24 of 32"
    When the workers go on
    Then the exit code is 0
    And stdout is "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
    And stderr tells in order:
      | echoes what it is told                                               |
      | no hive answers on port <its hive port> of workstation: starting one |
      | hive 0.1.0 started                                                   |
      | checked the hive of workstation: version 0.1.0, workers: 0           |
      | it has cpu (1 device), cuda (2 devices)                              |
      | downloading hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF                |
      | of 3.1 MB,                                                           |
      | verifying                                                            |
      | downloaded hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF                 |
      | starting a worker on workstation (cuda:1)                            |
      | MB needed                                                            |
      | backend cuda is available, device 1 exists                           |
      | on cuda:1, port <its first worker port>                              |
      | layers 24 of 32                                                      |
      | layers 32 of 32                                                      |
      | worker ready                                                         |
      | done: 20 tokens                                                      |
    And the catalog's row of "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M" has:
      """
      {"provider": "hf", "reference": "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF", "variant": "Q4_K_M", "size_bytes": 3280800}
      """
    And the hive lists 1 worker with:
      """
      {"state": "idle", "backend": "cuda", "device": 1, "url": "http://127.0.0.1:<its first worker port>"}
      """

  @S07
  Scenario: A model that no machine has is fetched, and the next run asks the hub for nothing
    Given the hub has "acme/honey" with the file "honey.Q4_K_M.gguf"
    And a node "attic" over SSH
    When I run `rbee-keeper infer --node attic --model hf:acme/honey --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    And stderr shows "downloading"
    And stderr shows "100 %"
    And stderr shows "SHA-256 verified"
    And the hub has sent the bytes of honey.Q4_K_M.gguf once
    When the hub's log is cleared
    And I run `rbee-keeper infer --node attic --model hf:acme/honey --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    And stderr does not show "downloading"
    And the hub was asked for nothing

  @S16 @L019
  Scenario: A model that is not in the catalog is downloaded, entered and used
    Given the hub has "acme/honey" with the files "README.gguf.txt, honey.Q4_K_M.gguf, honey.Q8_0.gguf"
    And the hub sends 2000 KB a second
    And a queen and a hive run
    When I post this task:
      """
      {"node": "localhost", "model": "hf:acme/honey", "prompt": "write a short story", "temperature": 0}
      """
    Then the stream ends with "end"
    And the text of the stream is the greedy story
    And the stream has progress of a download
    And the stream narrates "download_start" before "download_done"
    And the narration "download_done" mentions "hf:acme/honey"
    And the narration "download_done" mentions " s "
    And the stream narrates "model_found" before "worker_preflight"
    And the narration "ram_check" mentions "MB needed"
    And the catalog's row of "hf:acme/honey:Q4_K_M" has:
      """
      {"provider": "hf", "reference": "acme/honey", "variant": "Q4_K_M", "size_bytes": 3280800}
      """
    And the file of "hf:acme/honey:Q4_K_M" is what the hub has
    And the models folder has no rest of a download
    When the hub's log is cleared
    And I post this task:
      """
      {"node": "localhost", "model": "hf:acme/honey:honey.Q4_K_M.gguf", "prompt": "Hello"}
      """
    Then the stream ends with "end"
    And the stream has no progress of a download
    And the hub was asked for nothing

  @S16
  Scenario: A download that was asked for directly tells how it goes, late listeners included
    Given the hub has "acme/honey" with the file "honey.Q4_K_M.gguf"
    And the hub sends 3000 KB a second
    And a hive runs
    When I ask the hive to download "hf:acme/honey"
    Then the answer is 202
    When I follow the download
    Then the download tells "downloading, verifying" and ends with "complete"
    And the download has shown bytes, total and speed
    And the last speed that it has shown is more than 0 MB a second
    When I follow the download
    Then the download tells "complete" and ends with "complete"
    When I ask the hive to download "hf:acme/honey"
    Then the answer is 200
    And the hub has sent the bytes of honey.Q4_K_M.gguf once

  @S18
  Scenario: A model that has come stands in the catalog, and is found there
    Given the hub has "acme/honey" with the file "honey.Q4_K_M.gguf"
    And a hive runs
    When I ask the hive to download "hf:acme/honey"
    And I follow the download
    Then the download tells "downloading" and ends with "complete"
    And the catalog's row of "hf:acme/honey:Q4_K_M" has:
      """
      {"provider": "hf", "reference": "acme/honey", "variant": "Q4_K_M", "size_bytes": 3280800}
      """
    And the catalog's row of "hf:acme/honey:Q4_K_M" has an id, a file of its size, and the time of just now
    When I ask the hive to download "hf:acme/honey"
    Then the answer is 200
    And the answer is "cached" with the path of the row of "hf:acme/honey:Q4_K_M"

  @S16
  Scenario: The bar of a download on a terminal
    Given the hub has "acme/honey" with a model of 8 MB as "honey.Q4_K_M.gguf"
    And the hub sends 4000 KB a second
    And a queen and a hive run
    When I start `rbee-keeper infer --model hf:acme/honey --prompt hello` on a terminal
    Then the terminal shows /[1-9]\d? %.*of 8\.0 MB.*MB\/s/
    And the exit code is 0

  Scenario: The model of one file in four parts runs
    Given the hub has "acme/honey" with a model in 4 parts as "honey.Q4_K_M"
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    And the files of "hf:acme/honey:Q4_K_M" are what the hub has
    And the hive has 4 models of the hub in "hf/acme/honey/Q4_K_M"
    And the models folder has no rest of a download

  @L018
  Scenario: Three clients and two spawns want one model at once
    Given the hub has "acme/honey" with a model of 12 MB as "honey.Q4_K_M.gguf"
    And the hub holds honey.Q4_K_M.gguf back at 50 %
    And a queen and a hive run
    When I ask the hive for a worker for "hf:acme/honey"
    And I ask the hive for a worker for "hf:acme/honey:Q4_K_M"
    And I start these at once:
      | rbee-keeper infer --model hf:acme/honey --prompt hello --temperature 0                   |
      | rbee-keeper infer --model hf:acme/honey:Q4_K_M --prompt hello --temperature 0            |
      | rbee-keeper infer --model hf:acme/honey:honey.Q4_K_M.gguf --prompt hello --temperature 0 |
    And the hub has sent so much
    And the hub goes on
    Then all of them end with the exit code 0
    And all of them write what the last one's model says
    And the hub has sent the bytes of honey.Q4_K_M.gguf once
    And the hub was asked 1 times for honey.Q4_K_M.gguf

  @L012
  Scenario: The catalog can be asked for the models of one provider
    Given the hub has "acme/honey" with the files "honey.Q4_K_M.gguf, honey.Q8_0.gguf"
    And a hive runs
    When I ask the hive to download "hf:acme/honey:Q8_0"
    And I follow the download
    Then the download tells "downloading" and ends with "complete"
    And the catalog has 1 model of the provider "hf"
    And the catalog has 3 models of the provider "builtin"
    And the catalog has 0 models of the provider "local"
