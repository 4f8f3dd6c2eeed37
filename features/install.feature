Feature: rbee is installed on a machine that one can SSH into

  @S03
  Scenario: The queen sends its own release
    Given a machine over SSH
    And the package managers of the machine have a warm store
    And a queen runs
    And the machine is registered as "attic"
    When I run `rbee-keeper setup install --node attic` for at most 120 s
    Then the exit code is 0
    And stderr shows "uploading 100 %"
    And stdout shows "attic uses release 0.1.0-"
    And "<its home>/rbee" is installed in the release "0\.1\.0-[0-9a-f]{12}"
    When I run `rbee-keeper setup install --node attic`
    Then the exit code is 0
    And stdout shows "unchanged|already"
    And it took less than 20 s
    When I run `rbee-keeper infer --node attic --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    When the queen gets SIGTERM
    Then nothing runs on the machine after at most 1 s

  @S03
  Scenario: The machine clones a repository and builds it
    Given a machine over SSH
    And a git repository of this project, which is on the branch "trunk" of two
    And the package managers of the machine have a warm store
    And a queen runs
    When I run `rbee-keeper setup add-node --name attic <its address> --hive-port <its hive port> --git-repo <noted repository> --git-branch trunk`
    Then the exit code is 0
    When I run `rbee-keeper setup install --node attic` for at most 240 s
    Then the exit code is 0
    And stdout tells in order:
      | branch trunk                  |
      | checking out                  |
      | installing packages on attic  |
      | building git-                 |
      | attic uses release git-       |
    And "<its home>/rbee" is installed in the release of the repository's commit
    When I run `rbee-keeper setup install --node attic`
    Then the exit code is 0
    And stdout shows "unchanged|already"
    When I run `rbee-keeper infer --node attic --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story

  @S57
  Scenario: The checkout that the configuration names is used
    Given a machine over SSH
    And a git repository whose build fails with "the wasp has eaten the comb"
    And an empty repository "<its home>/my checkout" on the machine
    And the package managers of the machine have a warm store
    And a configuration file that says:
      """
      [remote]
      git_repo_dir = "<its home>/my checkout"
      """
    When I run `rbee-keeper setup add-node --name attic <its address> --git-repo <noted repository>`
    And I run `rbee-keeper setup install --node attic`
    Then the exit code is 1
    And the folder "<its home>/my checkout" holds the commit of the repository
    And the folder "<its home>/rbee/source" is not there

  Scenario: A build that fails shows where and with what, and changes nothing
    Given a machine over SSH
    And a git repository whose build fails with "the wasp has eaten the comb"
    And the package managers of the machine have a warm store
    When I run `rbee-keeper setup add-node --name attic <its address> --git-repo <noted repository>`
    Then the exit code is 0
    When I run `rbee-keeper setup install --node attic`
    Then the exit code is 1
    And stderr shows "build"
    And stderr shows "gluing the combs"
    And stderr shows "the wasp has eaten the comb"
    And there is no release in "<its home>/rbee"
    And no process is left

  Scenario: A machine whose Node.js is too old
    Given a machine over SSH
    And an old Node.js "node18" on the machine
    When I run `rbee-keeper setup add-node --name attic <its address> --node-path <its home>/node18`
    Then the exit code is 0
    And stdout shows "18.19.0|Node.js"
    When I run `rbee-keeper setup install --node attic`
    Then the exit code is 1
    And stderr shows "20.19"
    And stderr shows "18.19.0"
    And there is no release in "<its home>/rbee"

  Scenario: A machine without Node.js where it was said to be
    Given a machine over SSH
    When I run `rbee-keeper setup add-node --name attic <its address> --node-path <its home>/nowhere/node`
    Then the exit code is 0
    When I run `rbee-keeper setup install --node attic`
    Then the exit code is 1
    And stderr shows "Node.js"
    And stderr shows "20.19"
    And stderr shows "--node-path"
    And there is no release in "<its home>/rbee"

  Scenario: An install path that a shell would take for a command is only a path
    Given a machine over SSH
    And the package managers of the machine have a warm store
    And a queen runs
    When I run `rbee-keeper setup add-node --name attic <its address> --hive-port <its hive port> --install-path "~/it's a $(touch pwned) `touch pwned`; touch pwned"`
    Then the exit code is 0
    When I run `rbee-keeper setup install --node attic` for at most 120 s
    Then the exit code is 0
    When I run `rbee-keeper infer --node attic --prompt "write a short story"`
    Then the exit code is 0
    And stdout is a story
    And no file of the scenario is named "pwned"

  Scenario: A node that nobody registered
    When I run `rbee-keeper setup install --node attic`
    Then the exit code is 1
    And stderr shows "rbee-keeper setup add-node"
